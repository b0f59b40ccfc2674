"""The driver: runs a notebook inside the sandbox and relays questions to the probe.

Theory of operation, for one run (see docs/architecture.md for the picture):

    trusted judge ──one socket── driver (pid 1 of the run) ──ipc sockets, one socketpair── kernel + probe

`zygote` is the long-lived parent that has imported TensorFlow; it forks a child for every run. The child
confines itself (grader.confine), then `run.serve` reads orders from the socket. For a notebook it forks
the kernel (`kernel`), drives it cell by cell with nbclient, sends the files that were made, and from then on
passes questions to the probe in the kernel and its answers back. For a clean sandbox there is no kernel: the
driver answers by itself.

Everything here is untrusted once student code has run, and an island: nbclient, ipykernel and the wire, nothing
else of the package.
"""
