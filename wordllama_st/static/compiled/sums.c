/* The sums of token embeddings: `mean_rows` and `mean_few` for pooling.py. */

#include "kernel.h"

#define CACHE_LINE 64
/* Rows that are summed in float32; and those whose numbers are given as a list, at most. */
#define SEGMENT 256
/* Rows that are fetched while those before them are summed. */
#define ROWS_AHEAD 4

static void prefetch_row(const char *row, int64_t bytes)
{
    for (int64_t byte = 0; byte < bytes; byte += CACHE_LINE)
        PREFETCH(row + byte);
}

/* The sums are in the order of the tokens, each rounded to float32 as the ones before it, whatever the processor.
   Rows of up to the token `last` may be fetched ahead. */
EVERY_PROCESSOR
static void sum_float32(const float *table, int64_t dim, const int32_t *columns, int64_t token, int64_t end,
                        int64_t last, const float *scales, float *restrict sum)
{
    for (int64_t j = 0; j < dim; j++)
        sum[j] = 0;
    for (; !scales && token + 4 <= end; token += 4) {
        const float *restrict a = table + columns[token] * dim, *restrict b = table + columns[token + 1] * dim;
        const float *restrict c = table + columns[token + 2] * dim, *restrict d = table + columns[token + 3] * dim;
        for (int64_t next = token + 4; next < token + 8 && next < last; next++)
            prefetch_row((const char *)(table + columns[next] * dim), dim * (int64_t)sizeof(float));
        for (int64_t j = 0; j < dim; j++)
            sum[j] = (((sum[j] + a[j]) + b[j]) + c[j]) + d[j];
    }
    for (; token < end; token++) {
        const float *restrict row = table + columns[token] * dim;
        float scale = scales ? scales[token] : 1;
        if (token + ROWS_AHEAD < last)
            prefetch_row((const char *)(table + columns[token + ROWS_AHEAD] * dim), dim * (int64_t)sizeof(float));
        for (int64_t j = 0; j < dim; j++)
            sum[j] += scale * row[j];
    }
}

EVERY_PROCESSOR
static void sum_int8(const int8_t *table, int64_t dim, const int32_t *columns, int64_t token, int64_t end, int64_t last,
                     const float *scales, float *restrict sum)
{
    for (int64_t j = 0; j < dim; j++)
        sum[j] = 0;
    for (; token < end; token++) {
        const int8_t *restrict row = table + columns[token] * dim;
        float scale = scales ? scales[token] : 1;
        if (token + ROWS_AHEAD < last)
            prefetch_row((const char *)(table + columns[token + ROWS_AHEAD] * dim), dim);
        for (int64_t j = 0; j < dim; j++)
            sum[j] += scale * (float)row[j];
    }
}

/* A finite number of 16 bits: its exponent is 112 less than that of the same number of 32 bits. */
static inline float from_float16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, bits = (uint32_t)(half & 0x7fff) << 13;
    float number;
    memcpy(&number, &bits, sizeof(number));
    number *= 0x1p112f;
    memcpy(&bits, &number, sizeof(bits));
    bits |= sign;
    memcpy(&number, &bits, sizeof(number));
    return number;
}

EVERY_PROCESSOR
static void sum_float16(const uint16_t *table, int64_t dim, const int32_t *columns, int64_t token, int64_t end,
                        int64_t last, const float *scales, float *restrict sum)
{
    for (int64_t j = 0; j < dim; j++)
        sum[j] = 0;
    for (; token < end; token++) {
        const uint16_t *restrict row = table + columns[token] * dim;
        float scale = scales ? scales[token] : 1;
        if (token + ROWS_AHEAD < last)
            prefetch_row((const char *)(table + columns[token + ROWS_AHEAD] * dim), dim * (int64_t)sizeof(uint16_t));
        for (int64_t j = 0; j < dim; j++)
            sum[j] += scale * from_float16(row[j]);
    }
}

typedef struct {
    const void *table;
    int64_t dim;
    int bytes_of_a_number;
    const int32_t *columns;
    const float *scales;
} Rows;

static void sum_tokens(const Rows *rows, int64_t token, int64_t end, int64_t last, float *sum)
{
    if (rows->bytes_of_a_number == 1)
        sum_int8(rows->table, rows->dim, rows->columns, token, end, last, rows->scales, sum);
    else if (rows->bytes_of_a_number == 2)
        sum_float16(rows->table, rows->dim, rows->columns, token, end, last, rows->scales, sum);
    else
        sum_float32(rows->table, rows->dim, rows->columns, token, end, last, rows->scales, sum);
}

/* Of a bag of more than SEGMENT tokens, the sums of its segments are added in float64; `wide` has room for these. */
static void mean_bags(const Rows *rows, const int64_t *offsets, int64_t n, double *wide, float *means)
{
    int64_t last = offsets[n];
    for (int64_t bag = 0; bag < n; bag++) {
        float *restrict mean = means + bag * rows->dim;
        int64_t token = offsets[bag], end = offsets[bag + 1];
        float count = (float)(end > token ? end - token : 1);
        if (end - token <= SEGMENT)
            sum_tokens(rows, token, end, last, mean);
        else {
            for (int64_t j = 0; j < rows->dim; j++)
                wide[j] = 0;
            for (; token < end; token += SEGMENT) {
                sum_tokens(rows, token, end - token < SEGMENT ? end : token + SEGMENT, last, mean);
                for (int64_t j = 0; j < rows->dim; j++)
                    wide[j] += mean[j];
            }
            for (int64_t j = 0; j < rows->dim; j++)
                mean[j] = (float)wide[j];
        }
        for (int64_t j = 0; j < rows->dim; j++)
            mean[j] /= count;
    }
}

PyObject *mean_rows(PyObject *self, PyObject *args)
{
    Py_buffer table, columns, offsets, means, scales = {0};
    PyObject *maybe_scales;
    Py_ssize_t dim;
    int bytes_of_a_number;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*niy*y*Ow*", &table, &dim, &bytes_of_a_number, &columns, &offsets, &maybe_scales,
                          &means))
        return NULL;
    double *wide = PyMem_Malloc((size_t)dim * sizeof(double) + 1);
    if (!wide)
        PyErr_NoMemory();
    else if (maybe_scales == Py_None || PyObject_GetBuffer(maybe_scales, &scales, PyBUF_SIMPLE) == 0) {
        Rows rows = {table.buf, dim, bytes_of_a_number, columns.buf, scales.buf};
        Py_BEGIN_ALLOW_THREADS
        mean_bags(&rows, offsets.buf, offsets.len / (Py_ssize_t)sizeof(int64_t) - 1, wide, means.buf);
        Py_END_ALLOW_THREADS
        if (maybe_scales != Py_None)
            PyBuffer_Release(&scales);
    }
    PyMem_Free(wide);
    PyBuffer_Release(&table);
    PyBuffer_Release(&columns);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&means);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* The mean of a few float32 rows that are given as a list of ints, of which to make an array would take longer. */
PyObject *mean_few(PyObject *self, PyObject *args)
{
    Py_buffer table, mean;
    PyObject *ids;
    Py_ssize_t dim;
    int32_t columns[SEGMENT];
    (void)self;
    if (!PyArg_ParseTuple(args, "y*nO!w*", &table, &dim, &PyList_Type, &ids, &mean))
        return NULL;
    int64_t offsets[2] = {0, PyList_GET_SIZE(ids)};
    if (offsets[1] > SEGMENT)
        PyErr_SetString(PyExc_ValueError, "too many rows");
    else
        for (Py_ssize_t i = 0; i < offsets[1]; i++)
            columns[i] = (int32_t)PyLong_AsLong(PyList_GET_ITEM(ids, i));
    if (!PyErr_Occurred()) {
        Rows rows = {table.buf, dim, sizeof(float), columns, NULL};
        mean_bags(&rows, offsets, 1, NULL, mean.buf);
    }
    PyBuffer_Release(&table);
    PyBuffer_Release(&mean);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}
