"""What the canary's notebooks try. Each text is the source of one code cell; ``__BAIT__`` is what the host put out.

Every attempt leaves True in ``findings`` where it succeeded. Nothing here is imported by the grader: it runs inside, as a
submission does.
"""

from __future__ import annotations

COMMON = r"""
import ctypes, os, platform, socket, sys, threading
BAIT = __BAIT__
libc = ctypes.CDLL(None, use_errno=True)
def attempt(act):
    try:
        return bool(act())
    except BaseException:
        return False
def in_a_child(act):
    # True if the child lived to say yes: what it tries may end it.
    child = os.fork()
    if child == 0:
        os._exit(0 if attempt(act) else 1)
    return os.waitpid(child, 0)[1] == 0
def connect(family, kind, address):
    s = socket.socket(family, kind); s.settimeout(0.5)
    s.connect(address); s.sendall(b"x"); return True
def in_a_command_line(text):
    for p in os.listdir("/proc"):
        if p.isdigit() and int(p) != os.getpid() and attempt(lambda: text in open(f"/proc/{p}/cmdline").read()):
            return True
"""

#: Tries to reach the host, then stays up with things of its own for `NEIGHBOUR` to look for.
ESCAPE = (
    COMMON
    + r"""
def status(key):
    return next(l.split(":")[1].strip() for l in open("/proc/self/status") if l.startswith(key))
def descriptors():
    for n in map(int, os.listdir("/proc/self/fd")):
        target = attempt(lambda: os.pread(n, 64, 0).decode() == BAIT["secret"])
        folder = attempt(lambda: os.open("..", os.O_RDONLY, dir_fd=n))
        if target or folder or attempt(lambda: os.readlink(f"/proc/self/fd/{n}").endswith(BAIT["file"])):
            return True
CALLS = {  # x86_64, aarch64, arguments that would not be refused for want of privilege
    "process_vm_readv": (310, 270, (os.getpid(), 0, 0, 0, 0, 0)), "pidfd_getfd": (438, 438, (-1, 0, 0)),
    "keyctl": (250, 219, (0, -3, 0)), "add_key": (248, 217, (0, 0, 0, 0, 0)), "request_key": (249, 218, (0, 0, 0, 0)),
    "io_uring_setup": (425, 425, (0, 0)), "userfaultfd": (323, 282, (-1,)), "bpf": (321, 280, (-1, 0, 0)),
    "perf_event_open": (298, 241, (0, 0, -1, -1, 0)), "personality": (135, 92, (0xFFFFFFFF,)),
    "clone3": (435, 435, (0, 0)), "unshare": (272, 97, (0,)), "setns": (308, 268, (-1, 0)), "kcmp": (312, 272, (1, 1, 9)),
    "mount": (165, 40, (0, 0, 0, 0, 0)), "fsopen": (430, 430, (0, 0)), "open_tree": (428, 428, (-1, 0, -1)),
    "seccomp": (317, 277, (9, 0, 0)), "unknown": (1000, 1000, ()),
}
SOCKETS = (40, 1, 0), (16, 3, 0), (17, 2, 0), (38, 5, 0), (2, 1, 262)  # vsock, netlink, packet, alg, multipath TCP
column = {"x86_64": 0, "aarch64": 1}[platform.machine()]
def refused(numbers):
    ctypes.set_errno(0)
    return libc.syscall(numbers[column], *map(ctypes.c_long, numbers[2])) == -1 and ctypes.get_errno() in (1, 38)
def old_call():
    import mmap
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("b814000000cd80c3"))  # getpid by the 32-bit table: mov eax, 20; int 0x80; ret
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))() > 0
def core():
    child = os.fork()
    if child == 0:
        os.abort()
    return os.WCOREDUMP(os.waitpid(child, 0)[1])
def threads():
    # How many can be started; a small stack each, for memory is another claim. All end here: what follows forks.
    threading.stack_size(65536)
    over, started = threading.Event(), []
    try:
        while len(started) < 2000:
            thread = threading.Thread(target=over.wait, daemon=True); thread.start(); started.append(thread)
    except RuntimeError:
        pass
    over.set()
    for thread in started:
        thread.join()
    return len(started)
findings = {
    "host_file": attempt(lambda: open(BAIT["file"]).read() == BAIT["secret"]),
    "host_write": attempt(lambda: open(BAIT["file"] + ".w", "w")) or attempt(lambda: open("/usr/grader-canary", "w")),
    "host_process": in_a_command_line(BAIT["marker"]) or attempt(lambda: os.kill(BAIT["pid"], 0) is None),
    "host_port": attempt(lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", BAIT["port"]))),
    "network": attempt(lambda: any(name != "lo" for _, name in socket.if_nameindex()))
    or attempt(lambda: len(open("/proc/net/route").readlines()) > 1),
    "launcher_environment": any(
        attempt(lambda p=p: BAIT["variable"] in open(f"/proc/{p}/environ").read()) for p in ("1", "2", "self")
    ),
    "descriptors": attempt(descriptors),
    "capabilities": attempt(lambda: int(status("CapEff"), 16) or int(status("CapBnd"), 16) or int(status("CapAmb"), 16)),
    "new_namespace": attempt(lambda: libc.unshare(0x10000000) == 0),
    "ptrace": in_a_child(lambda: libc.ptrace(0, 0, 0, 0) == 0),
    "vsock": any(attempt(lambda s=s: socket.socket(*s)) for s in SOCKETS),
    "system_calls": [name for name, numbers in CALLS.items() if not refused(numbers)] != [],
    "foreign_calls": column == 0 and (in_a_child(lambda: libc.syscall(ctypes.c_long(0x40000027)) > 0) or in_a_child(old_call)),
    "privileges": attempt(lambda: status("NoNewPrivs") != "1"),
    "driver_memory": attempt(lambda: open("/proc/1/mem", "r+b")) or attempt(lambda: open("/proc/1/environ", "rb").read()),
    "core": attempt(core),
    "memory": attempt(lambda: bytearray(8 << 30)),
    "all_processes": threads() >= BAIT["threads"],
}
# for the neighbour
segment = libc.shmget(BAIT["key"], 4096, 0o1666)
listener = socket.socket(socket.AF_UNIX); listener.bind("\0" + BAIT["marker"]); listener.listen()
for folder in (".", "/tmp", "/dev/shm"):
    open(f"{folder}/{BAIT['marker']}", "w").close()
# for the host: who outlives his parents and listens to nothing
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        import signal
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)", BAIT["neighbour"]])
    os._exit(0)
"""
)

#: Runs beside `ESCAPE` and looks for it.
NEIGHBOUR = (
    COMMON
    + r"""
libc.shmget.restype = ctypes.c_int
findings = {
    "neighbour": attempt(lambda: libc.shmget(BAIT["key"], 0, 0) >= 0)
    or attempt(lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + BAIT["marker"]))
    or any(os.path.exists(f"{folder}/{BAIT['marker']}") for folder in (".", "/tmp", "/dev/shm"))
    or attempt(lambda: in_a_command_line(BAIT["neighbour"])),
}
"""
)

#: Takes more memory than a run may have, where the limit of one process and the watch over their data do not see it.
HOG = r"""
for folder in ("/dev/shm", "/tmp"):
    for number in range(31):
        with open(f"{folder}/{number}", "wb") as file:
            file.write(bytes(8 << 20))
try:
    data = b"x" * (64 << 20)
except MemoryError:  # the limit of one process, which is another claim: only the end of the run counts here
    pass
"""
