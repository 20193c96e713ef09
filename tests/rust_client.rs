// SPDX-License-Identifier: ISC
//! What languages_test.py has of Rust: calls libbud through examples/rust/bud.rs, and prints
//! a line for each thing that is as it should be. A pool of 1 MiB, blocks of 256 KiB.

#[path = "../examples/rust/bud.rs"]
mod bud;

use bud::Pool;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::mem::ManuallyDrop;
use std::os::unix::fs::FileExt;
use std::os::unix::io::FromRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const CHUNK: usize = 256 * 1024;
const EBUSY: i32 = 16;
const EMSGSIZE: i32 = 90;
const ECANCELED: i32 = 125;
const NOW: Option<Duration> = Some(Duration::ZERO);

fn ok(what: &str, holds: bool) {
    println!("{} - {}", if holds { "ok" } else { "not ok" }, what);
}

fn memory_is_not_copied(pool: &Pool) {
    let mut buf = pool.alloc(CHUNK, NOW).unwrap();
    let (fd, offset) = buf.locate().unwrap();
    let memfd = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) }); // it is the pool's
    let mut there = vec![0; CHUNK];

    buf.iter_mut().enumerate().for_each(|(i, b)| *b = i as u8);
    memfd.read_exact_at(&mut there, offset).unwrap();
    ok("rust: what is written into the slice is in the pool's memory", there == buf[..]);
    memfd.write_all_at(b"from elsewhere", offset).unwrap();
    ok("rust: ... and the other way round", buf.starts_with(b"from elsewhere"));
}

fn sockets_take_slices(pool: &Pool) {
    let (mut one, mut other) = UnixStream::pair().unwrap();
    let mut from = pool.alloc(4096, NOW).unwrap();
    let mut to = pool.alloc(4096, NOW).unwrap();

    from.fill(7);
    one.write_all(&from).unwrap();
    other.read_exact(&mut to).unwrap();
    ok("rust: sockets write from it and read into it", from[..] == to[..]);
}

fn errors_are_errors(pool: &Pool) {
    let all: Vec<_> = (0..4).map(|_| pool.alloc(CHUNK, NOW).unwrap()).collect();
    let begun = Instant::now();
    let short = Duration::from_millis(50);
    let kind = |timeout| pool.alloc(CHUNK, timeout).err().map(|e| e.kind());

    ok("rust: EAGAIN at the wall", kind(NOW) == Some(ErrorKind::WouldBlock));
    ok("rust: ETIMEDOUT after a while", kind(Some(short)) == Some(ErrorKind::TimedOut));
    ok("rust: ... not before", begun.elapsed() >= short);
    let large = pool.alloc(1 << 40, NOW).err().and_then(|e| e.raw_os_error());
    ok("rust: EMSGSIZE of what can never be", large == Some(EMSGSIZE));
    ok("rust: a stat tells what is used", pool.stat().unwrap().used == 4 * CHUNK as u64);
    drop(all);
    ok("rust: drop gives back", pool.stat().unwrap().used == 0);
    let nobody = Pool::open("x", Some("/nowhere/budd.sock")).err().map(|e| e.kind());
    ok("rust: no budd is an error", nobody == Some(ErrorKind::NotFound));
}

fn who_waits_is_served(pool: &Pool) {
    let mut all: Vec<_> = (0..4).map(|_| pool.alloc(CHUNK, NOW).unwrap()).collect();

    let served = std::thread::scope(|s| {
        let waits = s.spawn(|| pool.alloc(CHUNK, Some(Duration::from_secs(30))).is_ok());
        while pool.stat().unwrap().waiting == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        all.pop();
        waits.join().unwrap()
    });
    ok("rust: a thread that waits is served when another drops a buffer", served);
}

fn growth_is_told() {
    let pool = Pool::open("watched", None).unwrap();
    let mut grown = 0;
    let mut watch = pool
        .watch(bud::GROWN, |event, bytes| {
            assert_eq!(event, bud::GROWN);
            grown += bytes;
        })
        .unwrap();
    let _bufs: Vec<_> = (0..3).map(|_| pool.alloc(CHUNK, None).unwrap()).collect();
    let end = Instant::now() + Duration::from_secs(30);

    while watch.dispatch().unwrap() == 0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(watch);
    ok("rust: a closure is told of growth", grown >= CHUNK as u64);
}

type Outcome<'a> = std::io::Result<bud::Buffer<'a>>;

/// How it ends, within half a minute.
fn end_of<'a, F: FnMut(u32, u64)>(
    watch: &mut bud::Watch<F>,
    request: &mut bud::Request<'a>,
) -> Option<Outcome<'a>> {
    let end = Instant::now() + Duration::from_secs(30);

    while Instant::now() < end {
        watch.dispatch().unwrap();
        if let Some(outcome) = request.result() {
            return Some(outcome);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

fn requests_end(pool: &Pool) {
    let mut watch = pool.watch(0, |_, _| ()).unwrap();
    let mut all: Vec<_> = (0..4).map(|_| pool.alloc(CHUNK, NOW).unwrap()).collect();
    let errno = |r: Option<Outcome>| r.unwrap().err().and_then(|e| e.raw_os_error());
    let kind = |r: Option<Outcome>| r.unwrap().err().map(|e| e.kind());

    let mut first = pool.request(CHUNK, None).unwrap();
    let mut late = pool.request(CHUNK, None).unwrap();
    watch.dispatch().unwrap();
    ok("rust: a request waits at the wall", first.result().is_none());
    all.pop();
    let mut buf = end_of(&mut watch, &mut first).unwrap().unwrap();
    buf.fill(9);
    ok("rust: ... and is granted when another drops a buffer", buf.len() == CHUNK);
    ok("rust: ... once", first.result().is_none() && first.cancel().is_err());
    late.cancel().unwrap();
    ok("rust: a request is cancelled", errno(end_of(&mut watch, &mut late)) == Some(ECANCELED));
    let mut now = pool.request(CHUNK, NOW).unwrap();
    ok("rust: ... refused", kind(end_of(&mut watch, &mut now)) == Some(ErrorKind::WouldBlock));
    let mut soon = pool.request(CHUNK, Some(Duration::from_millis(5))).unwrap();
    ok("rust: ... too late", kind(end_of(&mut watch, &mut soon)) == Some(ErrorKind::TimedOut));
    let large = pool.request(1 << 40, None).err().and_then(|e| e.raw_os_error());
    ok("rust: ... or wrong at once", large == Some(EMSGSIZE));
    drop(pool.request(CHUNK, None).unwrap()); // while it waits
    drop(buf);
    drop(all);
    drop(pool.request(CHUNK, None).unwrap()); // granted, and nobody was told
    let told = pool.request(CHUNK, None).unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while pool.stat().unwrap().used != CHUNK as u64 && Instant::now() < end {
        watch.dispatch().unwrap();
    }
    watch.dispatch().unwrap();
    let used = pool.stat().unwrap().used;
    ok("rust: one that was granted and not looked at has its buffer", used == CHUNK as u64);
    drop(told);
    ok("rust: ... and gives it back when it is dropped", pool.stat().unwrap().used == 0);
    let busy = pool.watch(0, |_, _| ()).err().and_then(|e| e.raw_os_error());
    ok("rust: there is one watch at a time", busy == Some(EBUSY));
    drop(watch);
    ok("rust: ... and another afterwards", pool.watch(0, |_, _| ()).is_ok());
}

fn main() {
    let pool = Pool::open("default", None).unwrap();

    ok("rust: a pool has the limits of its section", pool.stat().unwrap().wall == 4 * CHUNK as u64);
    ok("rust: a pool has a descriptor to poll", pool.fd().is_ok());
    memory_is_not_copied(&pool);
    sockets_take_slices(&pool);
    errors_are_errors(&pool);
    who_waits_is_served(&pool);
    requests_end(&pool);
    growth_is_told();
}
