# SPDX-License-Identifier: ISC
"""libbud for Python, through ctypes: pinned buffers as memoryviews, nothing is copied.

    with bud.Pool("media") as pool:
        with pool.alloc(65536, timeout=1.0) as buf:
            n = file.readinto(buf.view)
            sock.sendall(buf.view[:n])

Errors of libbud are OSErrors with its errno: TimeoutError, BlockingIOError (EAGAIN),
FileNotFoundError and ConnectionRefusedError (no budd), PermissionError, and so on; bud.h
tells which call ends with which.

A pool may be used by all threads; calls that wait let the others run. Timeouts are seconds;
0 does not wait, None waits without end.
"""

import collections
import ctypes
import errno
import math
import os
import weakref

LOCAL = 0x1
TRANSFER_END = 1
PRESSURE, GROWN, RELEASED = 0x1, 0x2, 0x4
COUNT_MAX = 1024

_lib = ctypes.CDLL("libbud.so.0", use_errno=True)
_granted_fn = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_event_fn = ctypes.CFUNCTYPE(None, ctypes.c_uint, ctypes.c_uint64, ctypes.c_void_p)


class _Config(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("socket", ctypes.c_char_p),
        ("pool", ctypes.c_char_p),
        ("base", ctypes.c_size_t),
        ("add", ctypes.c_size_t),
        ("wall", ctypes.c_size_t),
        ("flags", ctypes.c_uint),
    ]


class _Stat(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("base", ctypes.c_uint64),
        ("add", ctypes.c_uint64),
        ("wall", ctypes.c_uint64),
        ("pinned", ctypes.c_uint64),
        ("used", ctypes.c_uint64),
        ("blocks", ctypes.c_uint32),
        ("waiting", ctypes.c_uint32),
    ]


Stat = collections.namedtuple("Stat", [name for name, _ in _Stat._fields_[1:]])


def _check(result, _function, _arguments):
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def _declare(name, *argtypes, restype=ctypes.c_int, errcheck=_check):
    function = getattr(_lib, name)
    function.argtypes, function.restype = argtypes, restype
    if errcheck is not None:
        function.errcheck = errcheck
    return function


_p = ctypes.c_void_p
_open = _declare("bud_open", ctypes.POINTER(_p), ctypes.POINTER(_Config))
_close = _declare("bud_close", _p, restype=None, errcheck=None)
_alloc = _declare("bud_alloc", _p, ctypes.c_size_t, ctypes.c_int, restype=_p, errcheck=None)
_allocv = _declare(
    "bud_allocv", _p, ctypes.c_size_t, ctypes.POINTER(_p), ctypes.c_uint, ctypes.c_int
)
_free = _declare("bud_free", _p, _p, restype=None, errcheck=None)
_usable_size = _declare("bud_usable_size", _p, _p, restype=ctypes.c_size_t, errcheck=None)
_request = _declare(
    "bud_request", _p, ctypes.c_size_t, ctypes.c_int, ctypes.c_uint, _granted_fn, _p,
    ctypes.POINTER(_p),
)
_cancel = _declare("bud_cancel", _p)
_fd = _declare("bud_fd", _p)
_dispatch = _declare("bud_dispatch", _p)
_stat = _declare("bud_stat", _p, ctypes.POINTER(_Stat))
_hint = _declare("bud_hint", _p, ctypes.c_uint)
_watch = _declare("bud_watch", _p, ctypes.c_uint, _event_fn, _p)
_locate = _declare(
    "bud_locate", _p, _p, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_uint64)
)


def _ms(timeout):
    """Rounded up: a short wait is not none."""
    return -1 if timeout is None else math.ceil(timeout * 1000)


class Buffer:
    """A buffer of a pool. view is a memoryview of its memory, as many bytes as were asked for.

    free() gives it back, as does the end of a with block. While something else still uses the
    memory, a slice of view say, it raises BufferError and the buffer stays.
    """

    def __init__(self, pool, address, size):
        self._pool, self.address, self.size = pool, address, size
        memory = (ctypes.c_ubyte * size).from_address(address)
        self._memory = weakref.ref(memory)  # it lives as long as anybody sees the memory
        self.view = memoryview(memory).cast("B")

    def free(self):
        if self.view is None:
            return
        self.view.release()
        if self._memory() is not None:
            self.view = memoryview(self._memory()).cast("B")
            raise BufferError("the buffer is still in use: a slice of its view, or the like")
        self.view = None
        self._pool._give(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.free()

    def __len__(self):
        return self.size


class Pool:
    """A pool of one's own at budd. Sizes are bytes; 0: as the section of budd.conf says."""

    def __init__(self, name=None, socket=None, base=0, add=0, wall=0, flags=0):
        config = _Config(
            ctypes.sizeof(_Config), socket and os.fsencode(socket), name and name.encode(),
            base, add, wall, flags,
        )
        self._handle, self._buffers, self._asked = _p(), set(), {}
        self._next, self._told, self._ends = 1, None, False
        self._on_granted = _granted_fn(self._granted)
        _open(ctypes.byref(self._handle), ctypes.byref(config))

    def close(self):
        """Ends the pool and gives all its buffers back: a view that outlives it would be of
        memory that is gone. BufferError, and all stays, while one is in use."""
        for buffer in list(self._buffers):
            buffer.free()
        self._ends = True
        _close(self._handle)
        self._handle = _p()

    @property
    def _pool(self):
        if not self._handle:
            raise ValueError("the pool is closed")
        return self._handle

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _take(self, address, size):
        buffer = Buffer(self, address, size)
        self._buffers.add(buffer)
        return buffer

    def _give(self, buffer):
        self._buffers.discard(buffer)
        _free(self._pool, buffer.address)

    def alloc(self, size, timeout=None):
        address = _alloc(self._pool, size, _ms(timeout))
        if address is None:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return self._take(address, size)

    def allocv(self, size, count, timeout=None):
        """Several, all or none."""
        addresses = (_p * count)()
        _allocv(self._pool, size, addresses, count, _ms(timeout))
        return [self._take(a, size) for a in addresses]

    def usable_size(self, buffer):
        return _usable_size(self._pool, buffer.address)

    def request(self, size, granted, timeout=None, flags=0):
        """granted(buffer, error) is called from dispatch(): a Buffer and None, or None and an
        OSError. Returns what cancel() takes."""
        key, handle = self._next, _p()
        self._next += 1
        self._asked[key] = size, granted
        try:
            _request(
                self._pool, size, _ms(timeout), flags, self._on_granted, key,
                ctypes.byref(handle),
            )
        except OSError:
            del self._asked[key]
            raise
        return handle

    def cancel(self, request):
        _cancel(request)

    def _granted(self, address, error, key):
        size, granted = self._asked.pop(key)
        if address is not None and self._ends:
            address, error = None, -errno.ECANCELED  # it goes with the pool
        if address is not None:
            granted(self._take(address, size), None)
        else:
            granted(None, OSError(-error, os.strerror(-error)))

    def fileno(self):
        """To be polled for reading (selectors, asyncio's add_reader); then dispatch()."""
        return _fd(self._pool)

    def dispatch(self):
        return _dispatch(self._pool)

    def watch(self, mask, told):
        """told(event, bytes) is called from dispatch(); a mask of 0 ends it."""
        callback = _event_fn(lambda event, count, _: told(event, count))
        _watch(self._pool, mask, callback, None)
        self._told = callback  # it has to live as long as libbud may call it

    def hint(self, what):
        _hint(self._pool, what)

    def stat(self):
        stat = _Stat(ctypes.sizeof(_Stat))
        _stat(self._pool, ctypes.byref(stat))
        return Stat(*(getattr(stat, name) for name in Stat._fields))

    def locate(self, buffer):
        """The pool's memfd, which stays the pool's, and where in it the buffer is."""
        fd, offset = ctypes.c_int(), ctypes.c_uint64()
        _locate(self._pool, buffer.address, ctypes.byref(fd), ctypes.byref(offset))
        return fd.value, offset.value
