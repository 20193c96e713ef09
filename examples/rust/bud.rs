// SPDX-License-Identifier: ISC
//! libbud for Rust, through an extern block written by hand: a pinned buffer is a slice that
//! borrows its pool, so it cannot outlive it, and goes back when it is dropped.
//!
//! ```text
//! let pool = Pool::open("media", None)?;
//! let mut buf = pool.alloc(65536, Some(Duration::from_secs(1)))?;
//! let n = file.read(&mut buf)?;
//! socket.write_all(&buf[..n])?;
//! ```
//!
//! Errors are io::Errors with libbud's errno; bud.h tells which call ends with which. All
//! threads may use a pool.
#![allow(dead_code)]

use std::ffi::{c_void, CString};
use std::io::{Error, Result};
use std::ops::{Deref, DerefMut};
use std::os::raw::{c_char, c_int, c_uint};
use std::os::unix::io::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const EBUSY: i32 = 16;

#[repr(C)]
struct RawConfig {
    size: usize,
    socket: *const c_char,
    pool: *const c_char,
    base: usize,
    add: usize,
    wall: usize,
    flags: c_uint,
}

/// A pool as it is now; bytes, but for the last two.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct Stat {
    size: usize,
    pub base: u64,
    pub add: u64,
    pub wall: u64,
    pub pinned: u64,
    pub used: u64,
    pub blocks: u32,
    pub waiting: u32,
}

pub const PRESSURE: u32 = 0x1;
pub const GROWN: u32 = 0x2;
pub const RELEASED: u32 = 0x4;

#[repr(C)]
struct RawPool {
    _private: [u8; 0],
}

#[repr(C)]
struct RawRequest {
    _private: [u8; 0],
}

type GrantedFn = extern "C" fn(buf: *mut c_void, error: c_int, arg: *mut c_void);
type EventFn = extern "C" fn(event: c_uint, bytes: u64, arg: *mut c_void);

#[link(name = "bud")]
extern "C" {
    fn bud_open(pool: *mut *mut RawPool, config: *const RawConfig) -> c_int;
    fn bud_close(pool: *mut RawPool);
    fn bud_alloc(pool: *mut RawPool, size: usize, timeout_ms: c_int) -> *mut c_void;
    fn bud_free(pool: *mut RawPool, buf: *mut c_void);
    fn bud_request(
        pool: *mut RawPool,
        size: usize,
        timeout_ms: c_int,
        flags: c_uint,
        granted: GrantedFn,
        arg: *mut c_void,
        request: *mut *mut RawRequest,
    ) -> c_int;
    fn bud_cancel(request: *mut RawRequest) -> c_int;
    fn bud_stat(pool: *mut RawPool, stat: *mut Stat) -> c_int;
    fn bud_fd(pool: *mut RawPool) -> c_int;
    fn bud_dispatch(pool: *mut RawPool) -> c_int;
    fn bud_watch(
        pool: *mut RawPool,
        mask: c_uint,
        event: Option<EventFn>,
        arg: *mut c_void,
    ) -> c_int;
    fn bud_locate(
        pool: *mut RawPool,
        buf: *const c_void,
        fd: *mut c_int,
        offset: *mut u64,
    ) -> c_int;
}

fn check(result: c_int) -> Result<c_int> {
    if result < 0 {
        Err(Error::from_raw_os_error(-result))
    } else {
        Ok(result)
    }
}

/// Rounded up: a short wait is not none. None waits without end.
fn milliseconds(timeout: Option<Duration>) -> c_int {
    match timeout {
        None => -1,
        Some(t) => c_int::try_from((t.as_micros() + 999) / 1000).unwrap_or(c_int::MAX),
    }
}

pub struct Pool {
    raw: *mut RawPool,
    watched: AtomicBool,
}

// bud.h: a pool serves all threads of the process that opened it.
unsafe impl Send for Pool {}
unsafe impl Sync for Pool {}

impl Pool {
    /// socket: None: $BUD_SOCKET, else the path built in.
    pub fn open(name: &str, socket: Option<&str>) -> Result<Pool> {
        let name = CString::new(name)?;
        let socket = socket.map(CString::new).transpose()?;
        let config = RawConfig {
            size: std::mem::size_of::<RawConfig>(),
            socket: socket.as_ref().map_or(std::ptr::null(), |s| s.as_ptr()),
            pool: name.as_ptr(),
            base: 0,
            add: 0,
            wall: 0,
            flags: 0,
        };
        let mut raw = std::ptr::null_mut();
        check(unsafe { bud_open(&mut raw, &config) })?;
        Ok(Pool { raw, watched: AtomicBool::new(false) })
    }

    pub fn alloc(&self, size: usize, timeout: Option<Duration>) -> Result<Buffer<'_>> {
        let start = unsafe { bud_alloc(self.raw, size, milliseconds(timeout)) };
        if start.is_null() {
            return Err(Error::last_os_error());
        }
        Ok(Buffer { pool: self, start: start.cast(), size })
    }

    pub fn stat(&self) -> Result<Stat> {
        let mut stat = Stat { size: std::mem::size_of::<Stat>(), ..Stat::default() };
        check(unsafe { bud_stat(self.raw, &mut stat) })?;
        Ok(stat)
    }

    /// A descriptor to poll for reading; then the watch's dispatch().
    pub fn fd(&self) -> Result<RawFd> {
        check(unsafe { bud_fd(self.raw) })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        unsafe { bud_close(self.raw) }
    }
}

/// Who is told of a pool's events, and calls back for them and for its requests: there is one
/// at a time, so that no other thread does. Ends when it is dropped.
pub struct Watch<'a, F: FnMut(u32, u64)> {
    pool: &'a Pool,
    told: Box<F>,
}

extern "C" fn on_event<F: FnMut(u32, u64)>(event: c_uint, bytes: u64, arg: *mut c_void) {
    // A panic must not unwind into C; this is the one pointer that watch() gave.
    let told = unsafe { &mut *arg.cast::<F>() };
    let call = std::panic::AssertUnwindSafe(|| told(event, bytes));
    if std::panic::catch_unwind(call).is_err() {
        std::process::abort();
    }
}

impl Pool {
    /// mask: 0 if it is for requests alone. EBUSY if there is one already.
    pub fn watch<F: FnMut(u32, u64)>(&self, mask: u32, told: F) -> Result<Watch<'_, F>> {
        if self.watched.swap(true, Ordering::AcqRel) {
            return Err(Error::from_raw_os_error(EBUSY));
        }
        let mut watch = Watch { pool: self, told: Box::new(told) };
        let arg: *mut F = &mut *watch.told;
        check(unsafe { bud_watch(self.raw, mask, Some(on_event::<F>), arg.cast()) })?;
        Ok(watch)
    }
}

impl<F: FnMut(u32, u64)> Watch<'_, F> {
    /// Calls back for what has happened, and lets requests know how they ended; does not wait.
    pub fn dispatch(&mut self) -> Result<c_int> {
        check(unsafe { bud_dispatch(self.pool.raw) })
    }
}

impl<F: FnMut(u32, u64)> Drop for Watch<'_, F> {
    fn drop(&mut self) {
        unsafe { bud_watch(self.pool.raw, 0, None, std::ptr::null_mut()) };
        self.pool.watched.store(false, Ordering::Release);
    }
}

enum Outcome {
    Waits,
    Ended(*mut c_void, c_int),
    Dropped,
}

/// What a request shares with libbud until that has called back, which it does once.
struct Asked {
    pool: *mut RawPool,
    outcome: Mutex<Outcome>,
}

extern "C" fn on_granted(buf: *mut c_void, error: c_int, arg: *mut c_void) {
    let asked = unsafe { Arc::from_raw(arg as *const Asked) };
    let mut outcome = asked.outcome.lock().unwrap();

    if let Outcome::Dropped = *outcome {
        unsafe { bud_free(asked.pool, buf) }; // NULL is fine
    } else {
        *outcome = Outcome::Ended(buf, error);
    }
}

/// A buffer that was asked for and may come later. Dropped, it is cancelled.
pub struct Request<'a> {
    pool: &'a Pool,
    raw: *mut RawRequest,
    size: usize,
    asked: Arc<Asked>,
}

impl Pool {
    /// Does not wait; the end of it comes with a watch's dispatch(). What is wrong at once is
    /// an error of this call.
    pub fn request(&self, size: usize, timeout: Option<Duration>) -> Result<Request<'_>> {
        let asked = Arc::new(Asked { pool: self.raw, outcome: Mutex::new(Outcome::Waits) });
        let arg = Arc::into_raw(Arc::clone(&asked));
        let mut raw = std::ptr::null_mut();
        let timeout = milliseconds(timeout);
        let r = unsafe {
            bud_request(self.raw, size, timeout, 0, on_granted, arg as *mut c_void, &mut raw)
        };
        if r < 0 {
            drop(unsafe { Arc::from_raw(arg) }); // nobody calls back
        }
        check(r)?;
        Ok(Request { pool: self, raw, size, asked })
    }
}

impl<'a> Request<'a> {
    /// None: it waits, or this was asked before.
    pub fn result(&mut self) -> Option<Result<Buffer<'a>>> {
        let mut outcome = self.asked.outcome.lock().unwrap();
        let (start, error) = match *outcome {
            Outcome::Ended(start, error) => (start, error),
            _ => return None,
        };
        *outcome = Outcome::Dropped;
        if start.is_null() {
            return Some(Err(Error::from_raw_os_error(-error)));
        }
        Some(Ok(Buffer { pool: self.pool, start: start.cast(), size: self.size }))
    }

    /// It ends with ECANCELED, at the next dispatch(); ENOENT if it has ended.
    pub fn cancel(&self) -> Result<()> {
        check(unsafe { bud_cancel(self.raw) }).map(|_| ())
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        unsafe { bud_cancel(self.raw) };
        let mut outcome = self.asked.outcome.lock().unwrap();
        if let Outcome::Ended(start, _) = *outcome {
            unsafe { bud_free(self.pool.raw, start) }
        }
        *outcome = Outcome::Dropped;
    }
}

pub struct Buffer<'a> {
    pool: &'a Pool,
    start: *mut u8,
    size: usize,
}

// The memory is this buffer's alone, whichever thread has it.
unsafe impl Send for Buffer<'_> {}
unsafe impl Sync for Buffer<'_> {}

impl Buffer<'_> {
    /// The pool's memfd, which stays the pool's, and where in it the buffer is.
    pub fn locate(&self) -> Result<(RawFd, u64)> {
        let (mut fd, mut offset) = (-1, 0);
        check(unsafe {
            bud_locate(self.pool.raw, self.start.cast(), &mut fd, &mut offset)
        })?;
        Ok((fd, offset))
    }
}

impl Deref for Buffer<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        unsafe { std::slice::from_raw_parts(self.start, self.size) }
    }
}

impl DerefMut for Buffer<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        unsafe { std::slice::from_raw_parts_mut(self.start, self.size) }
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        unsafe { bud_free(self.pool.raw, self.start.cast()) }
    }
}
