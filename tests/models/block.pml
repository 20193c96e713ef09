/* SPDX-License-Identifier: ISC */

/*
 * budd closes a block, gives its pages back and opens it again, while threads may stand in the
 * midst of taking or refilling, for ever. Nobody has a frame of a page that is not pinned, nobody
 * has one twice, order[] tells the truth to whoever gives back (I1..I3 of proto/ledger.c), and a
 * taker sees the generation of what it takes. When the threads are idle, and one keeps a frame of
 * the block in its cache, the block closes all the same.
 *
 * The block has two chunks of two frames.
 *
 *	here			there
 *	small			take_within_chunk() or take_runs() for a refill; ledger_give() or
 *				ledger_give_many(); in the end its frame lies in its cache
 *	row			take_chunks() with take_row(), give_chunks()
 *	close			caches_call_in(), pool_close_last(): ledger_close_chunk() from the
 *				top down, ledger_reopen_chunk()
 *	open			heap's pinning, then ledger_open_chunk()
 *
 * That a cache is taken rightly is take.pml's matter: here it is one step, of an idle one.
 *
 * Conditions:
 *	SWAP	 budd closes a chunk by a compare-and-swap of all ones
 *	FRESH	 a thread takes by a compare-and-swap with the word that it chose from
 *	PINNED	 a chunk is opened after it was pinned
 *	STAMPED	 its generation is raised before its word is set
 *	CALL	 caches are called in before a block is closed
 *	BACK	 a row that lost a chunk puts back what it had
 *	REOPEN	 so does budd
 *	OPENS	 setting the word of an opened chunk is a release (with WEAK)
 *	GIVES	 giving back is a release (with WEAK)
 */
#ifndef SWAP
#define SWAP 1
#endif
#ifndef FRESH
#define FRESH 1
#endif
#ifndef PINNED
#define PINNED 1
#endif
#ifndef STAMPED
#define STAMPED 1
#endif
#ifndef CALL
#define CALL 1
#endif
#ifndef BACK
#define BACK 1
#endif
#ifndef REOPEN
#define REOPEN 1
#endif
#ifndef OPENS
#define OPENS 1
#endif
#ifndef GIVES
#define GIVES 1
#endif

#define SMALL	0 /* writers */
#define ROW	1
#define BUDD	2
#define WRITERS 3
#define LOCS	4 /* order[] of the frames; chunk c has 2c and 2c + 1 */
#include "tso.pml"

#define WHOLE	3
#define NONE	0 /* what order[] says */
#define INNER	4
#define CLOSED	5 /* and k + 1 of a buffer of 2^k frames */

byte word[2];
byte generation[2];
byte real[2];	/* the generation that the pages are of */
bit pinned[2];
byte had[4];	/* how many think that the frame is theirs */
byte cached = 255;
byte idle;	/* threads that are */

#define BIT(f)	(1 + (f) % 2)
#define RELEASES(w, condition)	((WEAK && !(condition)) || DRAINED(w))

inline have(f) {
	assert(had[f] == 0 && pinned[(f) / 2]);
	had[f]++
}

/* One frame; it saw the word at some time, and swaps it later. */
inline take_small() {
	if
	:: chunk = 0
	:: chunk = 1
	fi;
	saw = word[chunk];
	if
	:: saw == 0 -> frame = 255
	:: else ->
		if
		:: saw & 1 -> frame = 2 * chunk
		:: !(saw & 1) -> frame = 2 * chunk + 1
		fi;
		if
		:: d_step { (word[chunk] == saw || !FRESH) && ACQUIRES(SMALL) ->
			word[chunk] = word[chunk] & (WHOLE - BIT(frame)); have(frame) }
			seen = generation[chunk];
			assert(seen == generation[chunk] && seen > 0 && seen == real[chunk]);
			seen = 0;
			store(SMALL, frame, 1, RELAXED)
		:: d_step { word[chunk] != saw && FRESH -> frame = 255 }
		fi
	fi;
	saw = 0; chunk = 0
}


proctype small() {
	byte rounds, chunk, saw, frame, seen, o;

	do
	:: rounds < 2 -> rounds++;
		take_small();
		if
		:: frame == 255 -> skip
		:: frame != 255 ->
			load(SMALL, frame, o);
			assert(o == 1);
			o = 0;
			if
			:: rounds == 2 -> cached = frame; break
			:: skip
			fi;
			store(SMALL, frame, NONE, RELAXED);
			d_step { RELEASES(SMALL, GIVES) -> assert(!(word[frame / 2] & BIT(frame)));
				had[frame]--; word[frame / 2] = word[frame / 2] | BIT(frame) }
		fi;
		frame = 255
	:: else -> break
	od;
	frame = 0;
	d_step { DRAINED(SMALL) -> idle++ }
}

inline give_chunk(w, c) {
	d_step { RELEASES(w, GIVES) -> assert(word[c] == 0); word[c] = WHOLE }
}

proctype row() {
	byte o;
	bit first, second;

	if
	:: word[0] == WHOLE && word[1] == WHOLE -> skip
	:: goto out
	fi;
	if
	:: d_step { word[0] == WHOLE && ACQUIRES(ROW) -> word[0] = 0; have(0); have(1); first = 1 }
	:: word[0] != WHOLE -> goto out
	fi;
	if
	:: d_step { word[1] == WHOLE && ACQUIRES(ROW) -> word[1] = 0; have(2); have(3); second = 1 }
	:: word[1] != WHOLE ->
#if BACK
		d_step { RELEASES(ROW, GIVES) -> assert(word[0] == 0); had[0]--; had[1]--; word[0] = WHOLE };
#endif
		goto out
	fi;
	store(ROW, 0, INNER, RELAXED);
	store(ROW, 2, INNER, RELAXED);
	store(ROW, 0, 3, RELAXED);
	load(ROW, 0, o);
	assert(o == 3);
	load(ROW, 2, o);
	assert(o == INNER);
	o = 0;
	store(ROW, 0, NONE, RELAXED);
	store(ROW, 2, NONE, RELAXED);
	d_step { had[0]--; had[1]--; had[2]--; had[3]-- };
	give_chunk(ROW, 0);
	give_chunk(ROW, 1);
out:	o = 0; first = 0; second = 0;
	d_step { DRAINED(ROW) -> idle++ }
}

inline close_chunk(c) {
	if
	:: d_step { (word[c] == WHOLE || !SWAP) && ACQUIRES(BUDD) -> word[c] = 0; closed = 1 }
		store(BUDD, 2 * c, CLOSED, RELAXED)
	:: d_step { word[c] != WHOLE && SWAP -> closed = 0 }
	fi
}

inline reopen_chunk(c) {
	d_step { RELEASES(BUDD, OPENS) -> assert(word[c] == 0); word[c] = WHOLE }
}

inline open_chunk(c) {
#if PINNED
	d_step { pinned[c] = 1; real[c]++ };
#endif
	store(BUDD, 2 * c, CLOSED, RELAXED);
#if STAMPED
	generation[c]++;
#endif
	d_step { RELEASES(BUDD, OPENS) -> assert(word[c] == 0); word[c] = WHOLE };
#if !STAMPED
	generation[c]++;
#endif
#if !PINNED
	d_step { pinned[c] = 1; real[c]++ };
#endif
}

inline call_in() {
#if CALL
	if
	:: d_step { cached != 255 && idle == 2 && DRAINED(BUDD) -> had[cached]--;
		assert(!(word[cached / 2] & BIT(cached)));
		word[cached / 2] = word[cached / 2] | BIT(cached); mem[cached] = NONE; cached = 255 }
	:: cached == 255 || idle != 2
	fi
#else
	skip
#endif
}

proctype budd() {
	byte passes;
	bit closed, must;

	do
	:: passes < 2 -> passes++;
		must = (idle == 2);
		call_in();
		close_chunk(1);
		if
		:: closed -> close_chunk(0);
			if
			:: closed ->
				d_step { assert(had[0] + had[1] + had[2] + had[3] == 0);
					pinned[0] = 0; pinned[1] = 0 };
				open_chunk(0);
				open_chunk(1);
				closed = 1
			:: else -> skip;
#if REOPEN
				reopen_chunk(1)
#endif
			fi
		:: else -> skip
		fi;
		assert(closed || !must);
		closed = 0; must = 0
	:: else -> break
	od;
end:	idle == 2;
	call_in();
	close_chunk(1);
	assert(closed);
	close_chunk(0);
	assert(closed)
}

init {
	d_step {
		word[0] = WHOLE; word[1] = WHOLE; pinned[0] = 1; pinned[1] = 1;
		generation[0] = 1; generation[1] = 1; real[0] = 1; real[1] = 1
	};
	atomic {
		run flusher(SMALL); run flusher(ROW); run flusher(BUDD);
		run small(); run row(); run budd()
	}
}
