"""The sandbox ladder: how a zygote and its runs are kept apart from the host and from each other.

Theory of operation. A *backend* starts a zygote in an outer sandbox and says how each run confines itself inside
it. There are three: `Bubblewrap` and `Namespaces` build the same rooms, one with bubblewrap's help and one with our
own calls; `Bare` is a plain process group for a student's own machine. Which *level* a backend reaches is never
assumed: the canary (`canary.prove`) runs a notebook that tries to get out, and the level is what it could not do.
Every backend must pass `conformance`.
"""

from grader.sandbox.backends import Backend, Bare, Bubblewrap, Namespaces, available

__all__ = ["Backend", "Bare", "Bubblewrap", "Namespaces", "available"]
