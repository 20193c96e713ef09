/* SPDX-License-Identifier: ISC */

/*
 * Taking what another thread's cache holds: C1 of proto/cache.c. One cache of one size with
 * room for two, two frames, its owner, and two takers (budd, and the library when budd is
 * away; or an arbiter and its heir). Nobody ever has a frame that somebody else has, and in
 * the end none is lost.
 *
 *	here			there
 *	hit_take, hit_give	bud_inline_take(), bud_inline_give()
 *	enter, leave		cache_claim(), cache_leave(); client/cache.c: enter(), leave()
 *	beyond_take, _give	bud__cache_take(), bud__cache_give()
 *	taker			caches_tick() or caches_call_in(): cache_seize(), barrier,
 *				cache_is_busy(), take_one(): cache_top(), cache_drop(),
 *				ledger_give_end(); cache_lower(). bud__caches_end() likewise
 *	free[f]			the frame's bit in the map, changed by locked instructions alone
 *
 * Conditions, each of which must fail when it is taken away:
 *	BARRIER	 the taker has the owner's processor run a barrier
 *	ENTRY	 a hit looks at `stop` after raising `busy`
 *	BUSY_	 the taker leaves a busy cache alone
 *	CLAIM	 one taker at a time: TAKER is set by compare-and-swap, where it is not set
 *	EXCLUDE	 a taker does not seize what its owner has claimed
 *	DEFER	 an owner does not claim what a taker has seized
 *	LEAVING	 busy = 0 is a release (with WEAK)
 */
#ifndef BARRIER
#define BARRIER 1
#endif
#ifndef ENTRY
#define ENTRY 1
#endif
#ifndef BUSY_
#define BUSY_ 1
#endif
#ifndef CLAIM
#define CLAIM 1
#endif
#ifndef EXCLUDE
#define EXCLUDE 1
#endif
#ifndef DEFER
#define DEFER 1
#endif
#ifndef LEAVING
#define LEAVING 1
#endif
#ifndef OPS
#define OPS 2
#endif

#define FRAMES	2
#define OWNER_	0 /* writers */
#define TAKERS	2
#define WRITERS 3
#define BUSY	0 /* locations */
#define COUNT	1
#define SLOT	2 /* and 3 */
#define LOCS	4
#include "tso.pml"

#define TICK	1 /* bits of stop */
#define OWNER	2
#define TAKER	4

byte stop;
bit free[FRAMES + 1];	/* in the map; frames are 1 and 2 */
bit held[FRAMES + 1];	/* the thread has it */

#define SET(bits)	stop = stop | (bits)
#define CLEAR(bits)	stop = stop & (255 - (bits))

inline have(f) {
	d_step { assert(f != 0 && !held[f] && !free[f]); held[f] = 1 }
}

inline give_to_map(w, f) {
	d_step { DRAINED(w) -> assert(f != 0 && !held[f] && !free[f]); free[f] = 1 }
}

/* The lowest one, 0 if there is none. */
inline take_from_map(w, f) {
	d_step {
		ACQUIRES(w) ->
		if
		:: free[1] -> f = 1; free[1] = 0
		:: !free[1] && free[2] -> f = 2; free[2] = 0
		:: else -> f = 0
		fi
	}
}

inline flush(keep) {
	load(OWNER_, COUNT, n);
	do
	:: n > keep ->
		load(OWNER_, SLOT, f); /* the oldest; the others move down */
		give_to_map(OWNER_, f);
		if
		:: n == 2 -> load(OWNER_, SLOT + 1, f); store(OWNER_, SLOT, f, RELAXED)
		:: else -> skip
		fi;
		n--;
		store(OWNER_, COUNT, n, RELAXED)
	:: else -> break
	od;
	n = 0; f = 0
}

inline enter() {
	if
	:: atomic { DEFER && (stop & TAKER) -> inside = 0 }
	:: d_step { !(DEFER && (stop & TAKER)) && DRAINED(OWNER_) ->
		SET(OWNER); inside = 1; ticked = (stop & TICK); CLEAR(TICK) }
		if
		:: ticked -> flush(0)
		:: else -> skip
		fi;
		ticked = 0
	fi
}

inline leave() {
	d_step { DRAINED(OWNER_) -> CLEAR(OWNER); inside = 0 }
}

inline hit_take() {
	store(OWNER_, BUSY, 1, RELAXED);
	if
	:: ENTRY && stop != 0 -> n = 0
	:: else -> load(OWNER_, COUNT, n)
	fi;
	if
	:: n == 0 -> store(OWNER_, BUSY, 0, LEAVING); hit = 0
	:: else ->
		load(OWNER_, SLOT + n - 1, f);
		store(OWNER_, COUNT, n - 1, RELAXED);
		have(f);
		store(OWNER_, BUSY, 0, LEAVING);
		hit = 1
	fi;
	n = 0; f = 0
}

inline beyond_take() {
	enter();
	if
	:: inside ->
		load(OWNER_, COUNT, n);
		if
		:: n == 0 -> take_from_map(OWNER_, f); /* a refill of one */
			if
			:: f != 0 -> store(OWNER_, SLOT, f, RELAXED);
				store(OWNER_, COUNT, 1, RELAXED)
			:: else -> skip
			fi
		:: else -> skip
		fi;
		load(OWNER_, COUNT, n);
		if
		:: n > 0 -> load(OWNER_, SLOT + n - 1, f); store(OWNER_, COUNT, n - 1, RELAXED);
			have(f)
		:: else -> skip
		fi;
		leave()
	:: else -> take_from_map(OWNER_, f);
		if
		:: f != 0 -> have(f)
		:: else -> skip
		fi
	fi;
	n = 0; f = 0
}

/* Frame @g; it is given up before it is stored. */
inline hit_give(g) {
	store(OWNER_, BUSY, 1, RELAXED);
	if
	:: ENTRY && stop != 0 -> n = 2
	:: else -> load(OWNER_, COUNT, n)
	fi;
	if
	:: n == 2 -> store(OWNER_, BUSY, 0, LEAVING); hit = 0
	:: else ->
		held[g] = 0;
		store(OWNER_, SLOT + n, g, RELAXED);
		store(OWNER_, COUNT, n + 1, RELAXED);
		store(OWNER_, BUSY, 0, LEAVING);
		hit = 1
	fi;
	n = 0
}

inline beyond_give(g) {
	enter();
	if
	:: inside ->
		load(OWNER_, COUNT, n);
		if
		:: n == 2 -> flush(1)
		:: else -> skip
		fi;
		load(OWNER_, COUNT, n);
		held[g] = 0;
		store(OWNER_, SLOT + n, g, RELAXED);
		store(OWNER_, COUNT, n + 1, RELAXED);
		leave()
	:: else -> held[g] = 0; give_to_map(OWNER_, g)
	fi;
	n = 0
}

/* bud_inline_stopped(); who waits is wake.pml's matter. */
inline look_again() {
	if
	:: stop != 0 -> enter();
		if
		:: inside -> leave()
		:: else -> skip
		fi
	:: else -> skip
	fi
}

proctype owner() {
	byte ops, n, f;
	bit inside, hit, ticked;

	do
	:: ops < OPS -> ops++;
		if
		:: !held[1] || !held[2] -> hit_take();
			if
			:: hit -> look_again()
			:: else -> beyond_take()
			fi
		:: held[1] -> hit_give(1);
			if
			:: hit -> look_again()
			:: else -> beyond_give(1)
			fi
		:: held[2] -> hit_give(2);
			if
			:: hit -> look_again()
			:: else -> beyond_give(2)
			fi
		fi;
		hit = 0
	:: else -> break
	od
}

proctype taker(byte w) {
	byte n, f;

	if
	:: d_step { DRAINED(w) -> SET(TICK) }
	:: skip
	fi;
	if
	:: d_step { DRAINED(w) && !(EXCLUDE && (stop & OWNER)) && !(CLAIM && (stop & TAKER)) ->
		SET(TAKER) }
	:: atomic { (EXCLUDE && (stop & OWNER)) || (CLAIM && (stop & TAKER)) -> goto out }
	fi;
#if BARRIER
	DRAINED(OWNER_);
#endif
	if
	:: BUSY_ && mem[BUSY] != 0 -> skip
	:: else ->
		do
		:: load(w, COUNT, n);
			if
			:: n == 0 -> break
			:: else -> skip
			fi;
			load(w, SLOT + n - 1, f);
			store(w, COUNT, n - 1, RELAXED);
			give_to_map(w, f)
		od
	fi;
	n = 0; f = 0;
	d_step { DRAINED(w) -> CLEAR(TAKER) };
out:	skip
}

/* All is done, and all stores have arrived. */
proctype judge() {
	byte f;

	timeout;
	for (f : 1 .. FRAMES) {
		assert(free[f] + held[f] + (mem[COUNT] > 0 && mem[SLOT] == f) +
		    (mem[COUNT] > 1 && mem[SLOT + 1] == f) == 1)
	}
}

init {
	atomic {
		if
		:: mem[COUNT] = 2; mem[SLOT] = 1; mem[SLOT + 1] = 2
		:: mem[COUNT] = 1; mem[SLOT] = 1; free[2] = 1
		:: mem[COUNT] = 1; mem[SLOT] = 1; held[2] = 1
		fi
	};
	atomic {
		run flusher(0); run flusher(1); run flusher(2);
		run owner(); run taker(1); run taker(2); run judge()
	}
}
