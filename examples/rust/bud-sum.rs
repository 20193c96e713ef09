// SPDX-License-Identifier: ISC
//! Prints how many bytes files have, and their sum, as `cksum` does (POSIX CRC), read through
//! one pinned buffer.
//!
//! usage: bud-sum FILE...        BUD_SOCKET=PATH: where budd is
//! build: rustc --edition 2021 -O examples/rust/bud-sum.rs

mod bud;

use std::fs::File;
use std::io::{Read, Result};
use std::time::Duration;

const SIZE: usize = 256 * 1024;
const POLYNOMIAL: u32 = 0x04c1_1db7;

fn table() -> [u32; 256] {
    let mut table = [0u32; 256];
    for (i, entry) in table.iter_mut().enumerate() {
        let mut crc = (i as u32) << 24;
        for _ in 0..8 {
            crc = if crc >> 31 == 1 { crc << 1 ^ POLYNOMIAL } else { crc << 1 };
        }
        *entry = crc;
    }
    table
}

fn add(crc: u32, bytes: &[u8], table: &[u32; 256]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| {
        crc << 8 ^ table[((crc >> 24) as u8 ^ byte) as usize]
    })
}

/// Behind the bytes comes their number, in as few bytes as it needs.
fn finish(crc: u32, mut length: u64, table: &[u32; 256]) -> u32 {
    let mut crc = crc;
    while length > 0 {
        crc = add(crc, &[length as u8], table);
        length >>= 8;
    }
    !crc
}

fn main() -> Result<()> {
    let pool = bud::Pool::open("bud-sum", None)?;
    let mut buf = pool.alloc(SIZE, Some(Duration::from_secs(10)))?;
    let table = table();
    for path in std::env::args().skip(1) {
        let mut file = File::open(&path)?;
        let (mut crc, mut length) = (0, 0);
        loop {
            let n = file.read(&mut buf)?;
            if n == 0 {
                break;
            }
            crc = add(crc, &buf[..n], &table);
            length += n as u64;
        }
        println!("{} {} {}", finish(crc, length, &table), length, path);
    }
    Ok(())
}
