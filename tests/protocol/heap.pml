/* The protocol of spans, slabs, generations and recovery, with processes that die anywhere.
 *
 * One span, which is free, an extent, or a slab of two blocks; two instance slots; two entries of
 * the table of generations besides the permanent one; a place that malloc_to and free_from publish
 * in. Two workers begin on a heap in one of several states, do OPS calls in all, in any order that
 * a program may make them, and are killed KILLS times; who was killed comes back as a new process.
 * The one that ends last is the judge: it recovers, compares the heap with what was handed out,
 * bulk-frees, frees what is left, and wants the span back.
 *
 * Names are those of the library's files: state, A, R and C of slab.c, slots and entries of
 * instance.c, intents of heap_recover.c. A statement has one access to shared memory that others
 * change meanwhile; a search of the table or of the intents counts as one, too, and so does a look
 * at a generation and at its entry. A d_step adds the accounts (held[], of_number[], ...) that the
 * judge and the assertions use. A process may die before each change that it makes: dying before a
 * read is no different from dying before the change that comes next. Memory is sequentially
 * consistent. Left out: hints, which are only to find slabs; several words of a bitmap, but for C,
 * which a claim writes word by word; what belongs to one process alone; kernels other than this
 * one.
 *
 * -D NAME of a mistake (CMakeLists.txt lists them) must make an assertion fail. */

#ifndef OPS
#define OPS 3
#endif
#ifndef KILLS
#define KILLS 1
#endif

/* The state word: kind, owner, incarnation. */
#define FREE 0
#define CLAIMED 1
#define SLAB 2
#define EXTENT 3
#define WORD(kind, owner, incarnation) ((kind) | (owner) << 2 | (incarnation) << 6)
#define KIND(word) ((word) & 3)
#define OWNER(word) ((word) >> 2 & 15)
#define INCARNATION(word) ((word) >> 6)
short state;

/* The record, and R with the incarnation above the bits. */
byte A, C, R;
#define R_BITS(word) ((word) & 3)
#define R_INCARNATION(word) ((word) >> 2)
byte incarnation, generation; /* of the record: an index */
byte announced;               /* incarnation + 1 */

/* Slots. An owner is a slot and how often it was taken. */
#define NONE 0
#define LIVE 1
#define RECOVERING 2
#define SLOTS 2
#define OWNER_OF(slot) ((slot) + 1 + 2 * uses[slot])
byte status[SLOTS], uses[SLOTS], number_of[SLOTS];
bool touched[SLOTS];
byte lock[SLOTS]; /* process + 1 */

/* Intents, one a slot; blocks as the place has them: index + 1. */
#define TO 1
#define FROM 2
byte intent[SLOTS], intent_block[SLOTS], intent_incarnation[SLOTS];
byte place;

/* Entries: number << 4 | slot << 3 | flags. */
#define OPEN 1
#define COMMITTED 2
#define FREEING 4
#define ENTRIES 3
#define NUMBER(word) ((word) >> 4)
byte entry[ENTRIES], next_number = 1;

/* ---- the accounts: what programs hold, exactly ---- */

#define NOBODY 0
#define USER 1      /* a program has the pointer */
#define GIVEN 2     /* a call of free has it */
#define PUBLISHED 3 /* it is in the place */
#define INTENDED 4  /* an intent has it, the place not */
#define BLOCKS 3    /* two of the slab; the extent */
byte held[BLOCKS], of_number[BLOCKS];
byte committed;     /* numbers, as bits */
byte giver[BLOCKS]; /* the process in a call that frees the block, + 1 */
byte place_busy;    /* the process in a call that has the place to itself, + 1 */
byte freeing[2];    /* number that a process is bulk-freeing: nobody may free its single blocks */
byte ops = OPS, kills = KILLS, running = 2;

/* ---- the accesses ---- */

#define CHANGE(what) \
    if \
    :: d_step { what } \
    :: atomic { kills > 0 -> kills-- }; goto killed \
    fi
#define CAS(word, from, to) \
    CHANGE(ok = (word == (from)); if :: ok -> word = to :: else fi)

#define BIT(b) (1 << (b))
#define IS_COMMITTED(e) ((e) == 0 || (entry[e] & COMMITTED) != 0)

/* ---- slab.c ---- */

/* hold: blocks that an heir may free once more. */
#define INTENDED_BY(slot) (intent[slot] == FROM -> BIT(intent_block[slot]) >> 1 & 3 : 0)
inline find_intents()
{
    if
    :: announced == INCARNATION(state) + 1 -> hold = INTENDED_BY(0); hold = hold | INTENDED_BY(1)
    :: else -> hold = 0
    fi
}

/* al: A afterwards; a bit that an intent protects stays in A and R. */
inline fold()
{
    x = R_BITS(R);
    if
    :: x != 0 ->
#ifdef INTENTS_IGNORED
        hold = 0;
#else
        find_intents();
#endif
#ifdef FOLD_ORDER
        CHANGE(R = R & ~(x & ~hold));
        CHANGE(al = (A & ~(x & ~hold)) | (x & hold); A = al);
#else
        CHANGE(al = (A & ~(x & ~hold)) | (x & hold); A = al);
#ifndef STALE_RELEASE
        CHANGE(R = R & ~(x & ~hold));
#endif
#endif
        hold = 0
    :: else -> al = A
    fi;
    x = 0
}

/* live: what is in use, by A and then R. */
inline look() { live = A; live = live & ~R & 3 }

inline destroy(owner)
{
    CHANGE(state = WORD(CLAIMED, owner, 0));
    CHANGE(state = FREE)
}

/* An owned slab that is empty has al 0, whatever an intent protects. */
inline settle_once()
{
    look();
    if
    :: live == 0 -> al = 0
    :: else -> fold()
    fi;
    live = 0
}

/* Of an owned slab whose fold gave al; again if it was emptied just then. */
inline release_or_destroy(owner)
{
    inc = INCARNATION(state);
    do
    :: al == 0 -> destroy(owner); break
    :: al != 0 ->
        CHANGE(state = WORD(SLAB, 0, inc));
        if
        :: R_BITS(R) == 0 -> break
        :: else
        fi;
        if
        :: state != WORD(SLAB, 0, inc) -> break
        :: else
        fi;
        look();
        if
        :: live != 0 -> break
        :: else
        fi;
        CAS(state, WORD(SLAB, 0, inc), WORD(SLAB, owner, inc));
        if
        :: ok -> settle_once()
        :: else -> break
        fi
    od;
    live = 0; inc = 0
}

inline settle(owner)
{
    settle_once();
    release_or_destroy(owner)
}

/* By R, of block b found in state st. by_intent: somebody else who has the
 * same intent may be ahead. */
inline remote_free(owner, slot_, by_intent)
{
    al = A;
    x = R;
    CHANGE(touched[slot_] = true);
    ok = false;
    do
#ifndef INCARNATION_IGNORED
    :: R_INCARNATION(x) != INCARNATION(st) -> assert(by_intent); break
    :: R_INCARNATION(x) == INCARNATION(st) && ((x & BIT(b)) != 0 || (al & BIT(b)) == 0) ->
#else
    :: (x & BIT(b)) != 0 || (al & BIT(b)) == 0 ->
#endif
        assert(by_intent);
        break
    :: else ->
        CHANGE(
            ok = (R == x);
            if
            :: ok ->
                R = x | BIT(b);
                assert(by_intent -> held[b] == INTENDED || held[b] == NOBODY : held[b] == GIVEN);
                held[b] = NOBODY
            :: else -> x = R
            fi
        );
        if
        :: ok -> break
        :: else
        fi
    od;
    al = 0; x = 0;
    if
    :: ok ->
        st = state;
        if
        :: KIND(st) == SLAB && OWNER(st) == 0 ->
            look();
            if
            :: live == 0 ->
                CAS(state, st, WORD(SLAB, owner, INCARNATION(st)));
                if
                :: ok -> settle(owner)
                :: else
                fi
            :: else
            fi
        :: else
        fi
    :: else
    fi
}

/* ---- instance.c, heap_recover.c ---- */

/* e: the entry of the instance in a slot, or 0. */
inline leave(slot_, e, carried_)
{
    if
    :: e == 0
    :: e != 0 && carried_ -> CHANGE(entry[e] = entry[e] & ~OPEN)
    :: e != 0 && !carried_ -> CHANGE(entry[e] = 0)
    fi;
    CHANGE(number_of[slot_] = 0; touched[slot_] = false);
    CHANGE(status[slot_] = NONE; lock[slot_] = 0)
}

#define ENTRY_OF(n) \
    ((n) == 0 -> 0 : (NUMBER(entry[1]) == (n) -> 1 : (NUMBER(entry[2]) == (n) -> 2 : 0)))

/* In the name of the dead of slot s, whose lock is ours and whose owner bits are in heir. */
inline settle_dead()
{
    index = ENTRY_OF(number_of[s]);
#ifdef SLOT_FIRST
    leave(s, index, true);
    index = 0;
#endif
    if
    :: intent[s] != NONE ->
        if
        :: place != intent_block[s] ->
            st = state;
            b = intent_block[s] - 1;
            if
#ifdef INCARNATION_IGNORED
            :: KIND(st) == SLAB -> remote_free(heir, s, true)
#else
            :: KIND(st) == SLAB && INCARNATION(st) == intent_incarnation[s] ->
                remote_free(heir, s, true)
#endif
            :: else
            fi;
            b = 0
        :: else
        fi;
        CHANGE(intent[s] = NONE)
    :: else
    fi;
    carried = false;
    if
    :: touched[s] ->
        st = state;
        carried = (KIND(st) >= SLAB && generation == index);
        ok = (KIND(st) == SLAB && OWNER(st) == heir);
        if
        :: KIND(st) == CLAIMED && OWNER(st) == heir -> CHANGE(state = FREE)
        :: KIND(st) == SLAB && OWNER(st) == 0 ->
            look();
            if
            :: live == 0 -> CAS(state, st, WORD(SLAB, heir, INCARNATION(st)))
            :: else
            fi
        :: else
        fi;
        if
        :: ok ->
            settle(heir);
            carried = (carried && al != 0)
        :: else
        fi
    :: else
    fi;
    st = 0; al = 0; live = 0;
#ifndef SLOT_FIRST
    leave(s, index, carried);
#endif
    heir = 0; index = 0; carried = false; ok = false
}

inline recover()
{
    s = 0;
    do
    :: s == SLOTS -> break
    :: s < SLOTS && (s == slot || status[s] == NONE || lock[s] != 0) -> s++
    :: d_step {
            s < SLOTS && s != slot && status[s] != NONE && lock[s] == 0 ->
            lock[s] = me + 1; heir = OWNER_OF(s)
        };
        CHANGE(status[s] = RECOVERING);
        settle_dead();
        s++
    od;
    s = 0
}

/* A slot; slot SLOTS if there is no room. */
inline join()
{
    slot = 0;
    do
    :: slot == SLOTS -> break
    :: slot < SLOTS && (status[slot] != NONE || lock[slot] != 0) -> slot++
    :: d_step {
            slot < SLOTS && status[slot] == NONE && lock[slot] == 0 ->
            lock[slot] = me + 1; uses[slot]++; status[slot] = LIVE; own = OWNER_OF(slot);
            assert(own < 16)
        };
        break
    od}

/* A generation of its own. */
inline begin_generation()
{
    CHANGE(number = next_number; next_number++);
    CHANGE(number_of[slot] = number);
    gi = 1;
    do
    :: gi == ENTRIES -> break
    :: gi < ENTRIES ->
        CAS(entry[gi], 0, number << 4 | slot << 3 | OPEN);
        if
        :: ok -> break
        :: else -> gi++
        fi
    od;
    if
    :: gi == ENTRIES -> /* the table is full */
        gi = 0; number = 0;
        leave(slot, 0, false);
        slot = SLOTS; own = 0
    :: else
    fi;
    ok = false
}

/* ---- cache.c: what an owner does; m is the A of the slab that it has ---- */

/* Takes a folded slab into the generation gi; ok: it may allocate from it. */
inline claim_generation()
{
    index = generation;
    ok = true;
    if
    :: index == gi && gi == 0
    :: index == gi && gi != 0 -> CHANGE(C = C & al)
    :: index != gi && IS_COMMITTED(index) ->
#ifdef GENERATION_FIRST
        CHANGE(generation = gi);
#endif
        CHANGE(C = (C & 2) | (al & 1));
        CHANGE(C = (C & 1) | (al & 2));
#ifndef GENERATION_FIRST
        CHANGE(generation = gi)
#endif
    :: index != gi && !IS_COMMITTED(index) && (al & ~C) != 0 -> ok = false
    :: index != gi && !IS_COMMITTED(index) && (al & ~C) == 0 ->
        CHANGE(C = C & al);
        CHANGE(generation = gi)
    fi;
    index = 0
}

/* Gets a slab to allocate from if there is one to get. */
inline get_slab()
{
    st = state;
    if
    :: st == FREE ->
        CHANGE(touched[slot] = true);
        CAS(state, FREE, WORD(CLAIMED, own, 0));
        if
        :: ok ->
            inc = incarnation + 1;
            CHANGE(incarnation = inc);
#ifdef STATE_FIRST
            CHANGE(state = WORD(SLAB, own, inc));
#endif
            CHANGE(generation = gi);
            CHANGE(A = 0);
            CHANGE(C = 0);
            CHANGE(R = inc << 2);
#ifndef STATE_FIRST
            CHANGE(state = WORD(SLAB, own, inc));
#endif
            m = 0; has = true
        :: else
        fi
    :: KIND(st) == SLAB && OWNER(st) == 0 && (generation == gi || IS_COMMITTED(generation)) ->
#ifndef TOUCH_LAST
        CHANGE(touched[slot] = true);
#endif
        CAS(state, st, WORD(SLAB, own, INCARNATION(st)));
#ifdef TOUCH_LAST
        CHANGE(touched[slot] = true);
#endif
        if
        :: ok ->
            fold();
            claim_generation();
            if
            :: ok -> m = al; has = true
            :: else -> release_or_destroy(own)
            fi
        :: else
        fi
    :: else
    fi
}

inline let_go()
{
    fold();
    CHANGE(C = C & al);
    has = false; m = 0;
    release_or_destroy(own);
    al = 0
}

/* b: a free block, or 2. */
inline find_free() { b = ((m & 1) == 0 -> 0 : ((m & 2) == 0 -> 1 : 2)) }

inline take(as)
{
    m = m | BIT(b);
    CHANGE(
        A = m;
        assert(held[b] == NOBODY);
        assert((R & BIT(b)) == 0); /* S2 */
        assert((C & BIT(b)) == 0 || IS_COMMITTED(generation)); /* S4 */
        held[b] = as; of_number[b] = number
    )
}

inline give()
{
    m = m & ~BIT(b);
    CHANGE(A = m; assert(held[b] == GIVEN); held[b] = NOBODY);
    if
    :: (C & BIT(b)) != 0 -> CHANGE(C = C & ~BIT(b))
    :: else
    fi
}

inline free_block()
{
    st = state;
    assert(KIND(st) == SLAB);
    if
    :: has && OWNER(st) == own -> give()
    :: else -> remote_free(own, slot, false)
    fi
}

/* ---- extent.c ---- */

inline alloc_extent()
{
    CHANGE(touched[slot] = true);
    CAS(state, FREE, WORD(CLAIMED, own, 0));
    if
    :: ok ->
        inc = incarnation + 1;
        CHANGE(incarnation = inc);
#ifndef STATE_FIRST
        CHANGE(generation = gi);
#endif
        CHANGE(
            state = WORD(EXTENT, 0, inc);
            assert(held[2] == NOBODY);
            held[2] = USER; of_number[2] = number
        );
#ifdef STATE_FIRST
        CHANGE(generation = gi)
#endif
    :: else
    fi
}

/* In state st; who: the number freed in bulk, or 0. */
inline free_extent(who)
{
    CHANGE(touched[slot] = true);
    CHANGE(
        ok = (state == st);
        if
        :: ok ->
            state = WORD(CLAIMED, own, 0);
            assert(held[2] != NOBODY);
            assert(who == 0 || (of_number[2] == who && (committed & BIT(who)) == 0));
            held[2] = NOBODY
        :: else
        fi
    );
    if
    :: ok -> CHANGE(state = FREE)
    :: else
    fi
}

/* ---- heap_generation.c ---- */

#define FREED_IN_BULK(b) \
    if \
    :: (x & BIT(b)) != 0 && held[b] != NOBODY -> \
        assert(of_number[b] == n && (committed & BIT(n)) == 0); \
        held[b] = NOBODY \
    :: else \
    fi

/* Those of number n in an owned slab. */
inline free_slab()
{
    look();
    x = live & ~C;
    if
    :: live == x ->
        CHANGE(state = WORD(CLAIMED, own, 0); FREED_IN_BULK(0); FREED_IN_BULK(1));
        CHANGE(state = FREE)
    :: else ->
#ifdef BULK_INTENTS
        CHANGE(A = A & ~x; FREED_IN_BULK(0); FREED_IN_BULK(1));
#else
        CHANGE(R = R | x; FREED_IN_BULK(0); FREED_IN_BULK(1));
#endif
        x = 0; live = 0;
        CHANGE(generation = 0);
        settle(own)
    fi;
    x = 0; live = 0
}

/* Of number n. */
inline bulk_free()
{
    index = ENTRY_OF(n);
    word = entry[index];
    do
    :: index == 0 || NUMBER(word) != n || (word & (OPEN | COMMITTED)) != 0 -> word = 0; break
    :: else ->
        if
        :: (word & FREEING) != 0 -> break
        :: else
        fi;
        CAS(entry[index], word, word | FREEING);
        if
        :: ok -> word = word | FREEING; break
        :: else -> word = entry[index]
        fi
    od;
    if
    :: word != 0 ->
        st = state;
        carried = (KIND(st) >= SLAB && generation == index);
        if
        :: carried && KIND(st) == EXTENT ->
            carried = false;
            if
#ifdef LATE_BULK
            :: true
#else
            :: entry[index] == word
#endif
                -> free_extent(n)
            :: else
            fi
        :: carried && KIND(st) == SLAB && OWNER(st) == 0 ->
            CHANGE(touched[slot] = true);
            CAS(state, st, WORD(SLAB, own, INCARNATION(st)));
            carried = !ok; /* skipped: once more */
            if
            :: ok ->
                ok = (generation == index);
#ifndef LATE_BULK
                ok = (ok && entry[index] == word);
#endif
                if
                :: ok -> free_slab()
                :: else -> settle(own)
                fi
            :: else
            fi
        :: else
        fi;
        if
        :: !carried -> CAS(entry[index], word, 0)
        :: else
        fi
    :: else
    fi
}

inline commit_closed(e)
{
    word = entry[e];
    n = NUMBER(word);
    do
    :: NUMBER(word) != n || (word & (OPEN | COMMITTED | FREEING)) != 0 -> break
    :: else ->
        CHANGE(
            ok = (entry[e] == word);
            if
            :: ok -> entry[e] = word | COMMITTED; committed = committed | BIT(n)
            :: else -> word = entry[e]
            fi
        );
        if
        :: ok -> break
        :: else
        fi
    od
}

/* ---- programs: they free what they hold, once, and nothing of what is being freed in bulk ---- */

#define OF_FREED(b) \
    (of_number[b] != 0 && (of_number[b] == freeing[0] || of_number[b] == freeing[1]))
#define MAY_FREE(b) (held[b] == USER && !OF_FREED(b))
#define IS_GIVEN(n) \
    ((giver[0] != 0 && of_number[0] == (n)) || (giver[1] != 0 && of_number[1] == (n)) || \
     (giver[2] != 0 && of_number[2] == (n)))
#define IS_CLOSED(e) (entry[e] != 0 && (entry[e] & OPEN) == 0)
#define MAY_BULK_FREE(e) \
    (IS_CLOSED(e) && (entry[e] & COMMITTED) == 0 && !IS_GIVEN(NUMBER(entry[e])) && \
     (place == 0 || place_busy == 0 || of_number[place - 1] != NUMBER(entry[e])))

/* What is published of a generation is withdrawn before, by a plain store: an intent that names it
 * may free it, too. */
inline begin_bulk_free(e)
{
    n = NUMBER(entry[e]);
    freeing[me] = n;
    if
    :: place != 0 ->
        if
        :: of_number[place - 1] == n -> held[place - 1] = INTENDED; place = 0
        :: else
        fi
    :: else
    fi
}

inline begin_free(c) { held[c] = GIVEN; giver[c] = me + 1; b = c }

/* What is in registers between calls is nothing: fewer states. */
#define FORGET \
    b = 0; st = 0; x = 0; al = 0; hold = 0; live = 0; inc = 0; s = 0; n = 0; word = 0; \
    index = 0; heir = 0; ok = false; carried = false

inline malloc()
{
    if
    :: !has -> get_slab()
    :: else
    fi;
    b = 2;
    if
    :: has -> find_free()
    :: else
    fi;
    if
    :: b < 2 -> take(USER)
    :: else
    fi
}

inline call()
{
    if
    :: (has -> m != 3 : state == FREE || (KIND(state) == SLAB && OWNER(state) == 0)) -> malloc()
    :: !has && state == FREE -> alloc_extent()
    :: has -> let_go()
    :: d_step { MAY_FREE(0) -> begin_free(0) };
        free_block();
        giver[0] = 0
    :: d_step { MAY_FREE(1) -> begin_free(1) };
        free_block();
        giver[1] = 0
    :: d_step { MAY_FREE(2) -> begin_free(2) };
        st = state;
        free_extent(0);
        giver[2] = 0
    /* malloc_to */
    :: d_step { has && m != 3 && place == 0 && place_busy == 0 -> place_busy = me + 1 };
        find_free();
        CHANGE(intent_block[slot] = b + 1);
        CHANGE(intent_incarnation[slot] = INCARNATION(state));
        CHANGE(intent[slot] = TO);
        take(INTENDED);
        CHANGE(place = b + 1; held[b] = PUBLISHED; place_busy = 0);
        CHANGE(intent[slot] = NONE)
    /* free_from */
    :: d_step {
            place != 0 && place_busy == 0 && !OF_FREED(place - 1) ->
            place_busy = me + 1; b = place - 1; giver[b] = me + 1
        };
        st = state;
        CHANGE(intent_block[slot] = b + 1);
        CHANGE(intent_incarnation[slot] = INCARNATION(st));
#ifdef ANNOUNCED_LATE
        CHANGE(intent[slot] = FROM);
        CHANGE(announced = INCARNATION(st) + 1);
#else
        CHANGE(announced = INCARNATION(st) + 1);
        CHANGE(intent[slot] = FROM);
#endif
        CHANGE(place = 0; held[b] = INTENDED);
#ifdef OWN_WITHDRAWAL
        free_block();
#else
        remote_free(own, slot, true);
#endif
        CHANGE(intent[slot] = NONE; place_busy = 0; giver[b] = 0)
    :: gi != 0 -> CHANGE(entry[gi] = entry[gi] | COMMITTED; committed = committed | BIT(number))
    :: IS_CLOSED(1) && (entry[1] & COMMITTED) == 0 -> commit_closed(1)
    :: IS_CLOSED(2) && (entry[2] & COMMITTED) == 0 -> commit_closed(2)
    :: d_step { !has && MAY_BULK_FREE(1) -> begin_bulk_free(1) };
        bulk_free();
        freeing[me] = 0
    :: d_step { !has && MAY_BULK_FREE(2) -> begin_bulk_free(2) };
        bulk_free();
        freeing[me] = 0
    :: (status[0] != NONE && lock[0] == 0) || (status[1] != NONE && lock[1] == 0) -> recover()
    :: else
    fi;
    b = 0; /* no break may lead to a d_step */
    d_step { FORGET }
}

inline close_heap()
{
    if
    :: has -> let_go()
    :: else
    fi;
    s = slot;
    heir = own;
    settle_dead();
    d_step { FORGET; slot = SLOTS; own = 0; gi = 0; number = 0 }
}

#define IS_LIVE(b) ((A & ~R & BIT(b)) != 0)
#define IS_PERMANENT(b) (of_number[b] == 0 || (committed & BIT(of_number[b])) != 0)

inline judge()
{
    recover();
    assert(status[0] == NONE && status[1] == NONE && place_busy == 0);
    assert(KIND(state) != CLAIMED && OWNER(state) == 0);
    assert(KIND(state) == SLAB ->
           IS_LIVE(0) == (held[0] != NOBODY) && IS_LIVE(1) == (held[1] != NOBODY) :
           held[0] == NOBODY && held[1] == NOBODY);
    assert((KIND(state) == EXTENT) == (held[2] != NOBODY));
    assert(place == 0 || held[place - 1] == PUBLISHED);
    d_step { slot = 0; uses[0]++; status[0] = LIVE; own = OWNER_OF(0); number = next_number };
    do
    :: number > 1 ->
        number--;
        n = number;
        bulk_free();
        d_step { FORGET }
    :: else -> break
    od;
    assert(held[0] == NOBODY || IS_PERMANENT(0));
    assert(held[1] == NOBODY || IS_PERMANENT(1));
    assert(held[2] == NOBODY || IS_PERMANENT(2));
    if
    :: held[0] != NOBODY -> b = 0; held[0] = GIVEN; free_block()
    :: else
    fi;
    if
    :: held[1] != NOBODY -> b = 1; held[1] = GIVEN; free_block()
    :: else
    fi;
    if
    :: held[2] != NOBODY -> st = state; free_extent(0)
    :: else
    fi;
    assert(state == FREE)
}

proctype worker(byte me, gi)
{
    /* Of the instance, and of the slab that it has. */
    byte slot = SLOTS, own, number, m;
    bool has;
    /* Registers. */
    byte b, x, al, hold, live, inc, s, n, word, index, heir;
    short st;
    bool ok, carried;

    if
    :: lock[me] == me + 1 -> slot = me; own = OWNER_OF(me); number = number_of[me]; goto work
    :: else
    fi;

killed:
    b = 0;
    d_step {
        do
        :: b < BLOCKS ->
            giver[b] = (giver[b] == me + 1 -> 0 : giver[b]);
            if
            :: b < SLOTS -> lock[b] = (lock[b] == me + 1 -> 0 : lock[b])
            :: else
            fi;
            b++
        :: else -> break
        od;
        freeing[me] = 0;
        place_busy = (place_busy == me + 1 -> 0 : place_busy);
        slot = SLOTS; own = 0; gi = 0; number = 0; m = 0; has = false;
        FORGET
    };
    recover();
    if
    :: ops > 0 -> join()
    :: else
    fi;

work:
    do
    :: slot == SLOTS -> break
    :: atomic { slot != SLOTS && ops > 0 -> ops-- }; call()
    :: slot != SLOTS ->
        close_heap();
        if
        :: true
        :: atomic { ops > 0 -> ops-- };
            join();
            if
            :: true
            :: slot < SLOTS -> begin_generation()
            fi
        fi
    od;

    if
    :: d_step { running == 1 -> kills = 0 }; judge()
    :: d_step { running == 2 -> running = 1 }
    fi
}

init
{
    atomic {
        if
        /* A slab without an owner: block 0 is of generation 1, whose process is gone, or permanent;
         * block 1 likewise, or free. */
        :: incarnation = 1; state = WORD(SLAB, 0, 1); R = 4; generation = 1; entry[1] = 1 << 4;
           next_number = 2; of_number[0] = 1;
           if
           :: held[0] = PUBLISHED; place = 1
           :: held[0] = USER
           fi;
           if
           :: A = 3; held[1] = USER; C = 2
           :: A = 1; generation = 0; of_number[0] = 0
           :: A = 1
           :: A = 3; held[1] = USER; of_number[1] = 1
           fi
        /* A free span, which was a slab before. */
        :: A = 3
        fi;
        status[0] = LIVE; status[1] = LIVE; lock[1] = 2;
        if
        /* An instance whose process died in free_from, as soon as it had withdrawn the pointer;
         * one without a generation, or with one. */
        :: place != 0 && kills > 0 ->
           kills--; place = 0; held[0] = INTENDED;
           intent[0] = FROM; intent_block[0] = 1; intent_incarnation[0] = 1; announced = 2;
           run worker(0, 0)
        :: lock[0] = 1; run worker(0, 0)
        :: lock[0] = 1; number_of[0] = next_number; next_number++;
           entry[2] = number_of[0] << 4 | OPEN;
           run worker(0, 2)
        fi;
        run worker(1, 0) /* and one without */
    }
}
