/* SPDX-License-Identifier: ISC */

/*
 * An arbiter dies in the midst of opening or closing a chunk, and its heir asks the ledger
 * whether the chunk is open, while a thread of the client may stand anywhere, for ever: between
 * taking the chunk and saying so in order[], say. Whatever the heir believes is so.
 *
 * One chunk of two frames; the thread takes all of it, or the second frame alone.
 *
 *	here			there
 *	arbiter			ledger_close_chunk(), ledger_open_chunk() between begin_move() and
 *				end_move() of daemon/pool.c
 *	heir			settle_doubt(): ledger_is_quiet(), ledger_chunk_is_open()
 *	by_map			bud__take_frames(), bud__give_frame(): header.entered and .left
 *	by_cache		cache_claim() with its count of entries, cache_refill() or
 *				cache_flush(), cache_leave()
 *
 * Conditions:
 *	QUIET	 the heir asks whether a thread is inside
 *	TWICE	 ... before and after it has looked
 *	COMPARE	 ... and whether one was inside in between, by the counts of entries
 *	ODD	 `entries` of a cache is odd while its owner is inside. To count visits, and to
 *		 look at OWNER in `stop`, is not enough: the owner may claim and leave between
 *		 one look at the one and one at the other
 *	GIVES	 who gives to the map counts as inside, too
 *	SAYS	 order[] is written before the thread is outside again
 *	LEAVING	 ... `entries` becomes even by a release (with WEAK)
 */
#ifndef QUIET
#define QUIET 1
#endif
#ifndef TWICE
#define TWICE 1
#endif
#ifndef COMPARE
#define COMPARE 1
#endif
#ifndef ODD
#define ODD 1
#endif
#ifndef LEAVING
#define LEAVING 1
#endif
#ifndef GIVES
#define GIVES 1
#endif
#ifndef SAYS
#define SAYS 1
#endif
#ifndef OPS
#define OPS 3
#endif

#define THREAD	0
#define ARBITER	1
#define WRITERS	2
#define ORDER	0 /* of the chunk's first frame */
#define ENTRIES	1 /* of the thread's cache */
#define LOCS	4
#include "tso.pml"

#define WHOLE	3
#define NONE	0 /* what order[] says */
#define TAKEN	1
#define CLOSED	2

byte word;
byte entered, left;
bit claimed;
bit open_;	/* the truth */
bit dead;
byte mine;	/* frames that the thread has */

inline set_order(w, o) {
	store(w, ORDER, o, RELAXED)
}

/* The compare-and-swap of a thread that saw the word at any time before. */
inline take() {
	if
	:: d_step { word == WHOLE && ACQUIRES(THREAD) -> word = 0; mine = WHOLE }
	:: d_step { (word & 2) && ACQUIRES(THREAD) -> word = word - 2; mine = 2 }
	:: d_step { (word & 1) && ACQUIRES(THREAD) -> word = word - 1; mine = 1 }
	:: skip
	fi
}

inline say() {
	if
	:: mine & 1 -> set_order(THREAD, TAKEN)
	:: else -> skip
	fi
}

inline give() {
	if
	:: mine & 1 -> set_order(THREAD, NONE)
	:: else -> skip
	fi;
	d_step { DRAINED(THREAD) -> word = word | mine; mine = 0 }
}

inline by_map() {
	if
	:: mine == 0 ->
		d_step { DRAINED(THREAD) -> entered++ };
		take();
#if SAYS
		say();
#endif
		d_step { DRAINED(THREAD) -> left++ }
#if !SAYS
		say();
#endif
	:: mine != 0 ->
#if GIVES
		d_step { DRAINED(THREAD) -> entered++ };
#endif
		give();
#if GIVES
		d_step { DRAINED(THREAD) -> left++ }
#endif
	fi
}

inline by_cache() {
	entries++;
	store(THREAD, ENTRIES, entries, RELAXED);
	d_step { DRAINED(THREAD) -> claimed = 1 };
	if
	:: mine == 0 -> take(); say()
	:: mine != 0 -> give()
	fi;
#if ODD
	entries++;
	store(THREAD, ENTRIES, entries, LEAVING);
#endif
	d_step { DRAINED(THREAD) -> claimed = 0 }
}

proctype thread() {
	byte ops, entries;

	do
	:: ops < OPS -> ops++;
		if
		:: by_map()
		:: by_cache()
		fi
	:: break
	od
}

#define MAY_DIE \
	if \
	:: goto died \
	:: skip \
	fi

proctype arbiter() {
	if
	:: open_ ->
		if
		:: d_step { word == WHOLE && ACQUIRES(ARBITER) -> word = 0; open_ = 0 }
		:: word != WHOLE -> goto died
		fi;
		MAY_DIE;
		set_order(ARBITER, CLOSED)
	:: else ->
		set_order(ARBITER, CLOSED);
		MAY_DIE;
		d_step { DRAINED(ARBITER) -> word = WHOLE; open_ = 1 }
	fi;
died:	DRAINED(ARBITER); /* the process is gone */
	dead = 1
}

/* ledger_is_quiet() */
inline look(quiet, count) {
	l = left; e = entered;
#if ODD
	count = mem[ENTRIES];
	quiet = count % 2 == 0 && l == e;
#else
	count = mem[ENTRIES];
	quiet = !claimed && l == e;
#endif
	count = e + 16 * count;
	l = 0; e = 0
}

proctype heir() {
	byte before, after, o, l, e;
	bit quiet, found;

	dead;
end:	do
	:: look(quiet, before);
		if
		:: QUIET && !quiet -> skip
		:: else ->
			o = mem[ORDER];
			found = (word != 0 || (o != CLOSED && o != NONE));
			o = 0;
#if TWICE
			look(quiet, after);
#else
			after = before;
#endif
			if
			:: QUIET && (!quiet || (COMPARE && before != after)) -> skip
			:: else -> break
			fi
		fi;
		before = 0; after = 0; quiet = 0; found = 0
	od;
	assert(found == open_)
}

init {
	atomic {
		if
		:: open_ = 1; word = WHOLE; mem[ORDER] = CLOSED	/* never used */
		:: open_ = 1; word = WHOLE; mem[ORDER] = NONE
		:: open_ = 1; mine = WHOLE; mem[ORDER] = TAKEN
		:: open_ = 1; word = 2; mine = 1; mem[ORDER] = TAKEN
		:: mem[ORDER] = CLOSED
		:: mem[ORDER] = NONE				/* never opened */
		fi;
		run flusher(THREAD); run flusher(ARBITER);
		run thread(); run arbiter(); run heir()
	}
}
