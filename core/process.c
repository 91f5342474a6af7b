#include "muster/core/process.h"

#include "muster/core/err.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

/* The word that holds the mark is in a page that the kernel empties in a child, so that no way to
 * fork is missed. Where a kernel before 4.14 does not, fork() at least calls empty_mark. */
static atomic_uint fallback;
static _Atomic(atomic_uint *) mark_word;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void empty_mark(void)
{
    atomic_store_explicit(&fallback, 0, memory_order_relaxed);
}

static void make_word(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    atomic_uint *word = page;
    if (page == MAP_FAILED || madvise(page, size, MADV_WIPEONFORK)) {
        if (page != MAP_FAILED)
            (void)munmap(page, size);                 /* it is ours */
        (void)pthread_atfork(NULL, NULL, empty_mark); /* without memory a child is not told apart */
        word = &fallback;
    }
    /* Release: whoever sees the pointer sees the page's zero. */
    atomic_store_explicit(&mark_word, word, memory_order_release);
}

static uint32_t draw(void)
{
    uint32_t mark;
    if (getrandom(&mark, sizeof mark, 0) != sizeof mark)
        mark = (uint32_t)getpid();
    return mark ? mark : 1;
}

uint32_t mst_process_mark(void)
{
    /* Acquire: pairs with make_word's release. */
    atomic_uint *word = atomic_load_explicit(&mark_word, memory_order_acquire);
    if (!word) {
        (void)pthread_once(&once, make_word);                          /* cannot fail */
        word = atomic_load_explicit(&mark_word, memory_order_relaxed); /* once is a barrier */
    }
    /* Relaxed: the mark stands for nothing but itself. */
    unsigned mark = atomic_load_explicit(word, memory_order_relaxed);
    if (mark == 0) {
        unsigned drawn = draw();
        if (atomic_compare_exchange_strong_explicit(word, &mark, drawn, memory_order_relaxed,
                                                    memory_order_relaxed))
            mark = drawn;
    }
    return mark;
}

bool mst_process_owns(uint32_t mark)
{
    return mark == mst_process_mark();
}

int mst_process_check(uint32_t mark, const char *what, struct mst_err *err)
{
    if (mst_process_owns(mark))
        return 0;
    return mst_err_set(err, -ENOTSUP,
                       "%s was made before this process was forked and stays the parent's: make "
                       "one here, or start the child by exec",
                       what);
}

void mst_process_keep(void *pages, size_t size_bytes)
{
    (void)madvise(pages, size_bytes, MADV_DONTFORK); /* refused: the child has a copy */
}

/* ---- descriptors ----------------------------------------------------------------------------- */

/* No call of the mutex can fail: it is locked by turns, in a child by the thread that forked. */
static struct {
    pthread_mutex_t lock;
    struct mst_process_fd *first;
} locked = {.lock = PTHREAD_MUTEX_INITIALIZER};

static pthread_once_t kept_once = PTHREAD_ONCE_INIT;

static void lock_kept(void)
{
    pthread_mutex_lock(&locked.lock);
}

static void unlock_kept(void)
{
    pthread_mutex_unlock(&locked.lock);
}

static void close_in_child(void)
{
    for (struct mst_process_fd *kept = locked.first; kept; kept = kept->next) {
        close(kept->fd);
        kept->fd = -1;
    }
    locked.first = NULL;
    unlock_kept();
}

static void watch_forks(void)
{
    (void)pthread_atfork(lock_kept, unlock_kept, close_in_child); /* without memory: no care */
}

void mst_process_keep_fd(struct mst_process_fd *kept, int fd)
{
    (void)pthread_once(&kept_once, watch_forks); /* cannot fail */
    lock_kept();
    *kept = (struct mst_process_fd){.fd = fd, .next = locked.first};
    if (kept->next)
        kept->next->previous = kept;
    locked.first = kept;
    unlock_kept();
}

void mst_process_close_fd(struct mst_process_fd *kept)
{
    lock_kept();
    if (kept->fd >= 0) {
        *(kept->previous ? &kept->previous->next : &locked.first) = kept->next;
        if (kept->next)
            kept->next->previous = kept->previous;
        close(kept->fd);
    }
    *kept = (struct mst_process_fd){.fd = -1};
    unlock_kept();
}
