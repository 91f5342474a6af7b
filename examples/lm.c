#include "muster/examples/lm.h"

#include <math.h>
#include <string.h>

const size_t lm_bucket_start[LM_BUCKETS + 1] = {LM_W2, LM_W1, LM_EM, LM_PARAMS};

const struct lm_tensor lm_tensors[LM_TENSORS] = {
    {"w2", LM_W2, LM_HIDDEN, LM_BYTES},       {"b2", LM_B2, LM_BYTES, 0},
    {"w1", LM_W1, LM_INPUT, LM_HIDDEN},       {"b1", LM_B1, LM_HIDDEN, 0},
    {"embedding", LM_EM, LM_BYTES, LM_EMBED},
};

void lm_init(struct lm *lm, struct mst_rng *rng)
{
    memset(lm, 0, sizeof *lm);
    for (size_t i = 0; i < LM_PARAMS; i++) {
        float scale = i < LM_B2 ? 0.12f : i < LM_W1 ? 0 : i < LM_B1 ? 0.08f : i < LM_EM ? 0 : 0.5f;
        lm->params[i] = scale * (2 * mst_rng_unit(rng) - 1);
    }
}

bool lm_is_finite(const struct lm *lm)
{
    for (size_t i = 0; i < LM_PARAMS; i++)
        if (!isfinite(lm->params[i]))
            return false;
    return true;
}

static void softmax(float *logits)
{
    float top = logits[0], sum = 0;
    for (size_t k = 1; k < LM_BYTES; k++)
        top = logits[k] > top ? logits[k] : top;
    for (size_t k = 0; k < LM_BYTES; k++)
        sum += logits[k] = expf(logits[k] - top);
    for (size_t k = 0; k < LM_BYTES; k++)
        logits[k] /= sum;
}

double lm_forward(const struct lm *lm, struct lm_row *row, const uint8_t *bytes)
{
    const float *w1 = lm->params + LM_W1, *w2 = lm->params + LM_W2, *embed = lm->params + LM_EM;
    row->bytes = bytes;
    for (size_t c = 0; c < LM_CONTEXT; c++)
        memcpy(row->input + c * LM_EMBED, embed + (size_t)bytes[c] * LM_EMBED,
               LM_EMBED * sizeof(float));
    memcpy(row->hidden, lm->params + LM_B1, sizeof row->hidden);
    for (size_t i = 0; i < LM_INPUT; i++)
        for (size_t j = 0; j < LM_HIDDEN; j++)
            row->hidden[j] += row->input[i] * w1[i * LM_HIDDEN + j];
    for (size_t j = 0; j < LM_HIDDEN; j++)
        row->hidden[j] = tanhf(row->hidden[j]);
    memcpy(row->prob, lm->params + LM_B2, sizeof row->prob);
    for (size_t j = 0; j < LM_HIDDEN; j++)
        for (size_t k = 0; k < LM_BYTES; k++)
            row->prob[k] += row->hidden[j] * w2[j * LM_BYTES + k];
    softmax(row->prob);
    return -log((double)row->prob[bytes[LM_CONTEXT]] + 1e-30);
}

/* prob becomes d loss / d logits. */
static void backward_output(float *grads, struct lm_row *row)
{
    row->prob[row->bytes[LM_CONTEXT]] -= 1;
    for (size_t k = 0; k < LM_BYTES; k++)
        grads[LM_B2 + k] += row->prob[k];
    for (size_t j = 0; j < LM_HIDDEN; j++)
        for (size_t k = 0; k < LM_BYTES; k++)
            grads[LM_W2 + j * LM_BYTES + k] += row->hidden[j] * row->prob[k];
}

/* hidden becomes d loss / d its pre-activation. The sum runs in 8 lanes of fixed order, so that it
 * can be vectorised and its bits stay the same. */
static void backward_hidden(const float *params, float *grads, struct lm_row *row)
{
    for (size_t j = 0; j < LM_HIDDEN; j++) {
        const float *w2 = params + LM_W2 + j * LM_BYTES;
        float lanes[8] = {0};
        for (size_t k = 0; k < LM_BYTES; k += 8)
            for (size_t l = 0; l < 8; l++)
                lanes[l] += w2[k + l] * row->prob[k + l];
        float sum = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
                    ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
        row->hidden[j] = sum * (1 - row->hidden[j] * row->hidden[j]);
        grads[LM_B1 + j] += row->hidden[j];
    }
    for (size_t i = 0; i < LM_INPUT; i++)
        for (size_t j = 0; j < LM_HIDDEN; j++)
            grads[LM_W1 + i * LM_HIDDEN + j] += row->input[i] * row->hidden[j];
}

static void backward_embedding(const float *params, float *grads, const struct lm_row *row)
{
    for (size_t i = 0; i < LM_INPUT; i++) {
        float sum = 0;
        for (size_t j = 0; j < LM_HIDDEN; j++)
            sum += params[LM_W1 + i * LM_HIDDEN + j] * row->hidden[j];
        grads[LM_EM + (size_t)row->bytes[i / LM_EMBED] * LM_EMBED + i % LM_EMBED] += sum;
    }
}

void lm_backward(struct lm *lm, struct lm_row *rows, size_t row_count, size_t bucket)
{
    memset(lm->grads + lm_bucket_start[bucket], 0,
           (lm_bucket_start[bucket + 1] - lm_bucket_start[bucket]) * sizeof(float));
    for (size_t r = 0; r < row_count; r++) {
        if (bucket == 0)
            backward_output(lm->grads, &rows[r]);
        else if (bucket == 1)
            backward_hidden(lm->params, lm->grads, &rows[r]);
        else
            backward_embedding(lm->params, lm->grads, &rows[r]);
    }
}
