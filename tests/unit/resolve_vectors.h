/* The recorded environments of tests/data/env-vectors*.json, each as a pod. */
#ifndef MUSTER_TESTS_UNIT_RESOLVE_VECTORS_H
#define MUSTER_TESTS_UNIT_RESOLVE_VECTORS_H

#include <jansson.h>

#include "resolve_fixture.h"

static inline void pod_of_vector(struct pod *pod, const json_t *vector)
{
    const json_t *assume = json_object_get(vector, "assume");
    const char *key;
    json_t *value;
    pod_init(pod);
    json_object_foreach(json_object_get(vector, "env"), key, value)
    {
        pod_set(pod, key, json_string_value(value));
    }
    json_object_foreach(json_object_get(vector, "files"), key, value)
    {
        pod_file(pod, key, json_string_value(value));
    }
    const char *hostname = json_string_value(json_object_get(assume, "hostname"));
    const char *pod_ip = json_string_value(json_object_get(assume, "pod_ip"));
    pod->machine.hostname = hostname ? hostname : "some-host";
    pod->machine.pod_ip = pod_ip ? pod_ip : "";
    pod->machine.gpu_count = (uint32_t)json_integer_value(json_object_get(assume, "local_gpus"));
}

/* How many of a file's environments `is_wrong`; at least `least` are there. */
static inline int vectors_wrong(const char *path, size_t least,
                                bool (*is_wrong)(struct pod *pod, const json_t *vector))
{
    json_error_t error;
    json_t *vectors = json_load_file(path, 0, &error), *vector;
    assert_true(json_array_size(vectors) >= least);
    size_t i;
    int wrong = 0;
    json_array_foreach(vectors, i, vector)
    {
        struct pod pod;
        pod_of_vector(&pod, vector);
        wrong += is_wrong(&pod, vector);
    }
    json_decref(vectors);
    return wrong;
}

#endif
