/* SPDX-License-Identifier: ISC */

/*
 * Memory with store buffers, for the models beside it.
 *
 * WRITERS processes store through a buffer each, LOCS locations of `mem` lie behind them. A
 * store waits in its writer's buffer; a flusher moves it to memory at any later time. A load
 * sees the reader's own waiting store first. That is x86 (TSO). With -DWEAK=1 a store overtakes
 * earlier ones to other locations, unless it is a release, which waits for all before it: the
 * weaker order that C11 promises, and that arm64 makes use of, as far as stores go. Loads are
 * made in program order: where the code under test relies on that it has an acquire, and where
 * it does not (the second look at `stop`), what counts is on which side of the barrier the
 * instruction stands, and no processor moves one across that.
 *
 * A locked instruction (RMW), a barrier and a system call that takes a lock wait until the
 * buffer is empty; which is the same as emptying it, since flushers may run at any time. What
 * locked instructions alone write is a plain variable of the model.
 */
#ifndef WEAK
#define WEAK 0
#endif
#ifndef DEPTH
#define DEPTH 5
#endif

#define RELAXED 0
#define RELEASE 1

byte mem[LOCS];
chan buffer[WRITERS] = [DEPTH] of { byte, byte, bit };
byte latest[WRITERS * LOCS]; /* what the writer would read, while a store waits */
hidden byte at, value, order;

#define WAITS_FOR(w, l)	(buffer[w]??[eval(l), _, _])
#define DRAINED(w)	(empty(buffer[w]))
#define ACQUIRES(w)	(WEAK || DRAINED(w)) /* a locked instruction that is no release */

inline store(w, l, v, r) {
	d_step { buffer[w]!(l), (v), r; latest[(w) * LOCS + (l)] = (v) }
}

inline load(w, l, v) {
	d_step {
		if
		:: WAITS_FOR(w, l) -> v = latest[(w) * LOCS + (l)]
		:: else -> v = mem[l]
		fi
	}
}

inline arrive(w) {
	mem[at] = value;
	if
	:: WAITS_FOR(w, at) -> skip
	:: else -> latest[(w) * LOCS + at] = 0
	fi;
	at = 0; value = 0; order = 0
}

/* The first store to @l, though others wait in front of it. */
#define OVERTAKE(w, l) \
	:: d_step { buffer[w]??[l, _, RELAXED] -> buffer[w]?? <l, value, order>; \
		if \
		:: order == RELAXED -> buffer[w]??l, value, order; at = l; arrive(w) \
		:: else -> value = 0; order = 0 \
		fi }

proctype flusher(byte w) {
end:	do
	:: d_step { buffer[w]?at, value, order -> arrive(w) }
#if WEAK
	OVERTAKE(w, 0)
	OVERTAKE(w, 1)
	OVERTAKE(w, 2)
	OVERTAKE(w, 3)
#endif
	od
}
