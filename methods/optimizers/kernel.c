/* AdamP and SGDP on contiguous float32 matrices of one row per output channel.
 *
 * Two passes over memory and no more: the first updates the optimizer's state and takes the four row sums from which
 * the projection is decided, the second moves the weight, w <- w * row factor - step * direction. Sums run in lanes,
 * so that they vectorise without reordering, and per row in one thread, so that threads do not change a bit.
 */
#include <math.h>
#include <stdint.h>

#define LANES 32

typedef struct {
    float *w;
    const float *g;
    float *a;      /* Adam: first moment; SGD: momentum buffer */
    float *b;      /* Adam: second moment; SGD: unused */
    float *fired;  /* the view that fired, or NULL */
    double *stats; /* (rows, 4) scratch; NULL: never projected */
    int64_t rows, length;
    double step, eps_root; /* step size; eps as added to the root of the second moment */
} Item;

typedef struct {
    int64_t adam, nesterov, maximize, project, channel_view, layer_view, each_row, strip;
    double beta1, beta2, dampening, decay, delta, wd_ratio, eps;
} Options;

#define INLINE static inline __attribute__((always_inline))

/* The direction of one element, from state that is already updated; `adam` and `nesterov` are constants of the caller. */
INLINE float direction(int adam, int nesterov, float g, float a, float b, float keep, float beta1, float eps_root) {
    if (adam) return (nesterov ? a + keep * (g - a) : a) / (sqrtf(b) + eps_root);
    return nesterov ? g + beta1 * a : a;
}

INLINE void update_row(int adam, int nesterov, const Item *item, int64_t row, const Options *o) {
    const int64_t n = item->length, whole = n - n % LANES;
    const float *restrict w = item->w + row * n, *restrict g = item->g + row * n;
    float *restrict a = item->a + row * n, *restrict b = adam ? item->b + row * n : 0;
    const float beta1 = (float)o->beta1, beta2 = (float)o->beta2, keep = (float)(1.0 - o->beta1);
    const float keep2 = (float)(1.0 - o->beta2), fresh = (float)(1.0 - o->dampening);
    const float sign = o->maximize ? -1.0f : 1.0f, eps_root = (float)item->eps_root;
    float gw[LANES] = {0}, gg[LANES] = {0}, ww[LANES] = {0}, wp[LANES] = {0};
#define ELEMENT(i, l)                                                                       \
    do {                                                                                    \
        const float gi = sign * g[i], wi = w[i];                                            \
        const float ai = adam ? a[i] + keep * (gi - a[i]) : beta1 * a[i] + fresh * gi;      \
        const float bi = adam ? beta2 * b[i] + keep2 * gi * gi : 0.0f;                      \
        a[i] = ai;                                                                          \
        if (adam) b[i] = bi;                                                                \
        gw[l] += gi * wi;                                                                   \
        gg[l] += gi * gi;                                                                   \
        ww[l] += wi * wi;                                                                   \
        wp[l] += wi * direction(adam, nesterov, gi, ai, bi, keep, beta1, eps_root);         \
    } while (0)
    for (int64_t i = 0; i < whole; i += LANES)
        for (int l = 0; l < LANES; l++) ELEMENT(i + l, l);
    for (int64_t i = whole; i < n; i++) ELEMENT(i, 0);
#undef ELEMENT
    if (!item->stats) return;
    double sums[4] = {0};
    for (int l = 0; l < LANES; l++) {
        sums[0] += gw[l];
        sums[1] += gg[l];
        sums[2] += ww[l];
        sums[3] += wp[l];
    }
    for (int k = 0; k < 4; k++) item->stats[4 * row + k] = sums[k];
}

static inline int below(double gw, double gg, double ww, double threshold, double eps) {
    return fabs(gw) < threshold * fmax(sqrt(gg), eps) * fmax(sqrt(ww), eps);
}

/* Replace each row's sums by (radial part, decay ratio): as projection.decide does on tensors. */
static void decide(const Item *item, const Options *o) {
    double *s = item->stats, whole[4] = {0};
    int64_t passing = 0;
    for (int64_t r = 0; r < item->rows; r++) {
        for (int k = 0; k < 4; k++) whole[k] += s[4 * r + k];
        passing += o->channel_view &&
                   below(s[4 * r], s[4 * r + 1], s[4 * r + 2], o->delta / sqrt((double)item->length), o->eps);
    }
    const int some = o->each_row ? passing > 0 : passing == item->rows && o->channel_view;
    const double count = (double)item->rows * (double)item->length;
    const int layer =
        o->layer_view && !some && below(whole[0], whole[1], whole[2], o->delta / sqrt(count), o->eps);
    const double norm = sqrt(whole[2]) + o->eps, of_layer = whole[3] / (norm * norm);
    for (int64_t r = 0; r < item->rows; r++) {
        double *row = s + 4 * r;
        int channel = some && (!o->each_row || below(row[0], row[1], row[2],
                                                     o->delta / sqrt((double)item->length), o->eps));
        double own = sqrt(row[2]) + o->eps;
        double radial = channel ? row[3] / (own * own) : layer ? of_layer : 0.0;
        row[0] = o->project ? radial : 0.0;
        row[1] = channel || layer ? o->wd_ratio : 1.0;
    }
    if (item->fired) *item->fired = (float)(some + 2 * layer);
}

INLINE void move_row(int adam, int nesterov, int strip, const Item *item, int64_t row, const Options *o) {
    const int64_t n = item->length;
    float *restrict w = item->w + row * n, *restrict a = item->a + row * n;
    const float *restrict b = adam ? item->b + row * n : 0, *restrict g = item->g + row * n;
    const double radial = item->stats ? item->stats[4 * row] : 0.0;
    const double ratio = item->stats ? item->stats[4 * row + 1] : 1.0;
    const float factor = (float)(1.0 - o->decay * ratio + item->step * radial), step = (float)item->step;
    const float keep = (float)(1.0 - o->beta1), beta1 = (float)o->beta1, sign = o->maximize ? -1.0f : 1.0f;
    const float eps_root = (float)item->eps_root, stripped = (float)radial;
    for (int64_t i = 0; i < n; i++) {
        const float wi = w[i], ai = a[i];
        const float p = direction(adam, nesterov, sign * g[i], ai, adam ? b[i] : 0.0f, keep, beta1, eps_root);
        if (strip) a[i] = ai - stripped * wi;
        w[i] = wi * factor - step * p;
    }
}

/* One step of a parameter group, for constants of which the compiler makes loops without a branch. */
#define DEFINE(name, ADAM, NESTEROV, STRIP)                                                        \
    static void name(const Item *items, int64_t count, const Options *o) {                         \
        _Pragma("omp parallel") for (int64_t k = 0; k < count; k++) {                              \
            const Item *item = items + k;                                                          \
            _Pragma("omp for schedule(static)") for (int64_t r = 0; r < item->rows; r++)           \
                update_row(ADAM, NESTEROV, item, r, o);                                            \
            if (item->stats) {                                                                     \
                _Pragma("omp single") decide(item, o);                                             \
            }                                                                                      \
            _Pragma("omp for schedule(static) nowait") for (int64_t r = 0; r < item->rows; r++)    \
                move_row(ADAM, NESTEROV, STRIP, item, r, o);                                       \
        }                                                                                          \
    }

DEFINE(adam, 1, 0, 0)
DEFINE(adam_nesterov, 1, 1, 0)
DEFINE(sgd, 0, 0, 0)
DEFINE(sgd_stripping, 0, 0, 1)
DEFINE(sgd_nesterov, 0, 1, 0)

void projected_step(const Item *items, int64_t count, const Options *o) {
    if (o->adam)
        (o->nesterov ? adam_nesterov : adam)(items, count, o);
    else
        (o->nesterov ? sgd_nesterov : o->strip ? sgd_stripping : sgd)(items, count, o);
}
