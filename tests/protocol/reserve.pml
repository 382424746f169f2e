/* The protocol of runs of spans and of the reserve, with instances that die anywhere.
 *
 * SPANS spans, all free at first, or some of them in reserve of one that lives or has died; two
 * instances of one thread each. They do OPS calls in all, in any order: claim some spans where they
 * are free, or from their reserve, and make an extent of them; free an extent of their own, into the
 * reserve or not; give their reserve back; take what anyone has in reserve; recover one that died. An
 * instance is killed KILLS times, and stays dead. The one that ends last is the judge: it recovers,
 * frees all extents, empties all reserves, and wants every span back.
 *
 * Names are those of extent.c. A statement has one access to a state word; a process may die before
 * each change that it makes. Lists in DRAM are those of the library, shorter; claims take the first
 * run that is long enough. Left out: hints, nodes, memory behind spans, records, shards.
 *
 * -D NAME of a mistake (CMakeLists.txt lists them) must make an assertion fail. */

#ifndef OPS
#define OPS 4
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef SPANS
#define SPANS 4
#endif
#define RUNS 3

/* State words: kind, owner + 1 and a number, or the distance of a tail, or the length of an extent
 * (which lies in a record). */
#define FREE 0
#define CLAIMED 1
#define RESERVED 2
#define TAIL 3
#define EXTENT 4
#define WORD(kind, owner, x) ((kind) | ((owner) + 1) << 3 | (x) << 5)
#define KIND(word) ((word) & 7)
#define OWNER(word) (((word) >> 3 & 3) - 1)
#define REST(word) ((word) >> 5)
#define TAIL_OF(distance) (TAIL | (distance) << 5)
#define EXTENT_OF(length) (EXTENT | (length) << 5)
short state[SPANS];

bool dead[3];
byte heir;        /* process + 1 */
byte used[SPANS]; /* the account: extents that a program has, by instance + 1 */
byte ops = OPS, kills = KILLS, running = 2;

#define CHANGE(what) \
    if \
    :: d_step { what } \
    :: atomic { kills > 0 -> kills-- }; goto killed \
    fi
#define CAS(at, from, to) \
    CHANGE(ok = (state[at] == (from)); if :: ok -> state[at] = to :: else fi)
/* By plain stores who owns a run changes it: nothing of it is in use. */
#define STORE(at, to) CHANGE(assert(used[at] == 0); state[at] = to)

/* Gives back count spans from first on. */
inline unclaim()
{
    do
    :: count > 0 -> count--; STORE(first + count, FREE)
    :: else -> break
    od
}

inline claimed_length()
{
    count = 1;
    do
#ifdef EXACT_TAILS
    :: first + count < SPANS && state[first + count] == TAIL_OF(count) -> count++
    :: !(first + count < SPANS && state[first + count] == TAIL_OF(count)) -> break
#else
    :: first + count < SPANS && KIND(state[first + count]) == TAIL -> count++
    :: !(first + count < SPANS && KIND(state[first + count]) == TAIL) -> break
#endif
    od
}

/* Takes entry i off the list, into fo, ol, ot; ok if it is still there. */
inline reserve_take(to)
{
    d_step {
        fo = rf[i]; ol = rl[i]; ot = rt[i]; w = rw[i];
        rc--;
        rf[i] = rf[rc]; rl[i] = rl[rc]; rt[i] = rt[rc]; rw[i] = rw[rc];
        rf[rc] = 0; rl[rc] = 0; rt[rc] = 0; rw[rc] = 0
    };
#ifdef TAKEN_BLINDLY
    CHANGE(ok = true; state[fo] = to);
#else
    CAS(fo, w, to);
#endif
    w = 0
}

/* Puts first, count, tailed there. */
inline reserve_put()
{
#ifndef NUMBERLESS
    number++;
#endif
    CHANGE(assert(used[first] == 0);
           rf[rc] = first; rl[rc] = count; rt[rc] = tailed; rw[rc] = WORD(RESERVED, me, number);
           state[first] = rw[rc];
           rc++)
}

/* Spans first .. first + count - 1 become an extent. */
inline publish()
{
    CHANGE(
        k = 0;
        do
        :: k < count ->
            assert(used[first + k] == 0);
            assert(k == 0 -> state[first] == WORD(CLAIMED, me, 0) :
                             state[first + k] == TAIL_OF(k));
            used[first + k] = me + 1;
            k++
        :: else -> break
        od;
        k = 0;
        state[first] = EXTENT_OF(count))
}

inline claim_free()
{
    select(first : 0 .. SPANS - 1);
    select(wanted : 1 .. 3);
    count = 0;
    ok = first + wanted <= SPANS;
    do
    :: ok && count < wanted ->
        if
        :: count == 0 -> CAS(first, FREE, WORD(CLAIMED, me, 0))
        :: else -> CAS(first + count, FREE, TAIL_OF(count))
        fi;
        count = (ok -> count + 1 : count)
    :: else -> break
    od;
    if
    :: ok -> publish()
    :: else -> unclaim()
    fi
}

inline claim_reserved()
{
    select(wanted : 1 .. 3);
    i = 0;
    do
    :: i < rc && rl[i] >= wanted -> break
    :: i < rc -> i++
    :: i >= rc -> break
    od;
    if
    :: i < rc && rl[i] >= wanted ->
        reserve_take(WORD(CLAIMED, me, 0));
        if
        :: ok ->
            if
            :: ol > wanted ->
                first = fo + wanted; count = ol - wanted; tailed = 1;
#ifdef HEADLESS_REST
                d_step {
                    number++;
                    rf[rc] = first; rl[rc] = count; rt[rc] = 1; rw[rc] = state[first]; rc++
                }
#else
                reserve_put()
#endif
            :: else
            fi;
            first = fo; count = wanted; k = ot;
            do
            :: k < count -> STORE(first + k, TAIL_OF(k)); k++
            :: else -> break
            od;
            k = 0;
            publish()
        :: else
        fi
    :: else
    fi
}

/* Frees the extent that starts at first. */
inline free_extent()
{
    w = state[first];
    count = REST(w);
    CHANGE(
        assert(KIND(w) == EXTENT && state[first] == w);
        state[first] = WORD(CLAIMED, me, 0);
        k = 0;
        do
        :: k < count -> used[first + k] = 0; k++
        :: else -> break
        od;
        k = 0;
        w = 0)
}

inline release()
{
    tailed = count;
    i = 0;
    do
    :: i < rc && rf[i] + rl[i] == first ->
        reserve_take(WORD(CLAIMED, me, 0));
        if
        :: ok ->
            STORE(first, TAIL_OF(ol));
            d_step {
                first = fo;
                tailed = (ot == ol -> ol + 1 : ot);
                count = count + ol
            }
        :: else
        fi;
        i = 0
    :: i < rc && first + count == rf[i] ->
        reserve_take(TAIL_OF(count));
        count = (ok -> count + ol : count);
        i = 0
    :: i < rc && rf[i] + rl[i] != first && first + count != rf[i] -> i++
    :: i >= rc -> break
    od;
    if
    :: rc < RUNS -> reserve_put()
    :: else -> unclaim()
    fi
}

/* extent_shrink */
inline shrink()
{
    i = 0;
    do
    :: rc > 0 ->
        reserve_take(WORD(CLAIMED, me, 0));
        first = fo; count = ol;
        if
        :: ok -> unclaim()
        :: else
        fi
    :: else -> break
    od
}

/* extent_shrink_all */
inline shrink_all()
{
    i = 0;
    do
    :: i < SPANS ->
        w = state[i];
        if
        :: KIND(w) == RESERVED ->
            CAS(i, w, WORD(CLAIMED, me, 0));
            first = i;
            if
            :: ok -> claimed_length(); unclaim()
            :: else
            fi
        :: else
        fi;
        i++
    :: else -> break
    od;
    w = 0
}

/* heap_settle of a dead one, by who has its lock. */
inline recover(d)
{
    i = 0;
    do
    :: i < SPANS ->
        w = state[i];
        ok = (w == WORD(CLAIMED, d, 0));
        if
        :: KIND(w) == RESERVED && OWNER(w) == d ->
#ifdef HEIR_BLINDLY
            CHANGE(ok = true; state[i] = WORD(CLAIMED, d, 0))
#else
            CAS(i, w, WORD(CLAIMED, d, 0))
#endif
        :: else
        fi;
        first = i;
        if
        :: ok -> claimed_length(); unclaim()
        :: else
        fi;
        i++
    :: else -> break
    od;
    w = 0;
    CHANGE(dead[d] = false; heir = 0)
}

#define FORGET \
    first = 0; count = 0; tailed = 0; wanted = 0; i = 0; k = 0; \
    fo = 0; ol = 0; ot = 0; w = 0; ok = false;

inline call()
{
    if
    :: claim_free()
    :: rc > 0 -> claim_reserved()
    :: select(first : 0 .. SPANS - 1);
        if
        :: KIND(state[first]) == EXTENT && used[first] == me + 1 ->
            free_extent();
            if
            :: release()
            :: unclaim()
            fi
        :: else
        fi
    :: rc > 0 -> shrink()
    :: shrink_all()
    :: atomic { dead[1 - me] && heir == 0 -> heir = me + 1 }; recover(1 - me)
    :: atomic { dead[2] && heir == 0 -> heir = me + 1 }; recover(2)
    fi;
    i = 0; /* no break may lead to a d_step */
    d_step { FORGET }
}

inline judge()
{
    assert(heir == 0);
    if
    :: dead[1 - me] -> recover(1 - me)
    :: else
    fi;
    if
    :: dead[2] -> recover(2)
    :: else
    fi;
    shrink();
    shrink_all();
    i = 0;
    do
    :: i < SPANS ->
        first = i;
        if
        :: KIND(state[i]) == EXTENT -> free_extent(); unclaim()
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = 0;
    do
    :: i < SPANS -> assert(state[i] == FREE && used[i] == 0); i++
    :: else -> break
    od
}

proctype worker(byte me; byte length)
{
    /* The reserve: first span, length, spans with the right tails, state word. */
    byte rf[RUNS], rl[RUNS], rt[RUNS], rc, number;
    short rw[RUNS];
    /* Registers. */
    byte first, count, tailed, wanted, i, k, fo, ol, ot;
    short w;
    bool ok;

    if
    :: length > 0 ->
        d_step {
            rl[0] = length; rt[0] = length; rw[0] = WORD(RESERVED, me, 0); rc = 1; length = 0
        }
    :: else
    fi;
    do
    :: atomic { ops > 0 -> ops-- }; call()
    :: break
    od;
    /* The last one judges; it does not die any more. A living one leaves nothing in reserve. */
    if
    :: d_step { running == 1 -> kills = 0 }; judge()
    :: d_step { running == 2 -> running = 1 };
        goto idle
    fi;
    goto ended;

killed:
    i = 0;
    d_step {
        dead[me] = true;
        heir = (heir == me + 1 -> 0 : heir);
        FORGET
        running--
    };
    goto ended;

idle:
    /* Its reserve stays until others take it. */
    skip;

ended:
    skip
}

init
{
    atomic {
        if
        :: run worker(0, 0)
        :: state[0] = WORD(RESERVED, 0, 0); state[1] = TAIL_OF(1); state[2] = TAIL_OF(2);
           run worker(0, 3)
        :: state[0] = WORD(RESERVED, 2, 0); state[1] = TAIL_OF(1); state[2] = TAIL_OF(2);
           dead[2] = true;
           run worker(0, 0)
        fi;
        run worker(1, 0)
    }
}
