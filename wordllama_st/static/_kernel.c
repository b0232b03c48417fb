/* The inner loops of encoding: the look-up of words and the sums of token embeddings.

   Each function does what the NumPy code of its module does, to the bit, and most of it without holding the GIL: `cut`
   for word_cache/tokenizer.py, `find` and `gather` for word_cache/table.py, `sum_rows` and `mean_few` for pooling.py. Where this extension could not be compiled, that code runs. The
   arguments are C-contiguous arrays whose dtypes and shapes the Python side guarantees; indices are checked there. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
/* One binary for every processor: the widest vectors that it has are chosen when the extension is loaded. */
#define EVERY_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EVERY_PROCESSOR
#endif

#if defined(__GNUC__) || defined(__clang__)
#define PREFETCH(address) __builtin_prefetch(address)
#define LOAD_ACQUIRE(address) __atomic_load_n(address, __ATOMIC_ACQUIRE)
#else
#define PREFETCH(address) ((void)0)
#define LOAD_ACQUIRE(address) (*(const volatile uint64_t *)(address))
#endif

#ifdef _MSC_VER
#define restrict __restrict
#endif

#define LONGEST 63
#define ABSENT (-2)
#define PROBES 16
#define CACHE_LINE 64
#define MOST_OF_FEW 256
/* Words whose slots are fetched while those before them are compared; and rows likewise. */
#define WORDS_AHEAD 16
#define ROWS_AHEAD 4

/* Write where the pieces of n texts begin, and return how many there are; see word_cache/rules.py. */
static int64_t cut_pieces(const unsigned char *text, const int64_t *offsets, int64_t n, int cuts_newlines,
                          int64_t *starts)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        if (offsets[i] < offsets[i + 1])
            starts[count++] = offsets[i];
        for (int64_t at = offsets[i] + 1; at < offsets[i + 1]; at++) {
            unsigned char c = text[at], before = text[at - 1];
            starts[count] = at;
            if (cuts_newlines)
                count += ((c == ' ') & (before != ' ')) | (c == '\n') | (before == '\n');
            else
                count += (c == ' ') & (before != ' ') & ((unsigned char)(before - '\t') > '\r' - '\t');
        }
    }
    return count;
}

static PyObject *cut(PyObject *self, PyObject *args)
{
    PyObject *given, *texts = NULL, *encoded = NULL, *offsets = NULL, *buffer = NULL, *starts = NULL, *result = NULL;
    const char *prefix;
    Py_ssize_t prefix_length, padding;
    int cuts_newlines;
    int64_t *found = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "Os#pn", &given, &prefix, &prefix_length, &cuts_newlines, &padding))
        return NULL;
    if (!(texts = PySequence_Fast(given, "texts are a sequence")))
        return NULL;
    Py_ssize_t n = PySequence_Fast_GET_SIZE(texts);
    if (!(encoded = PyList_New(n)) || !(offsets = PyBytes_FromStringAndSize(NULL, (n + 1) * (Py_ssize_t)sizeof(int64_t))))
        goto done;
    int64_t *offset = (int64_t *)PyBytes_AS_STRING(offsets);
    offset[0] = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *bytes = PyUnicode_AsUTF8String(PySequence_Fast_GET_ITEM(texts, i));
        if (!bytes)
            goto done;
        PyList_SET_ITEM(encoded, i, bytes);
        Py_ssize_t length = PyBytes_GET_SIZE(bytes);
        offset[i + 1] = offset[i] + (length ? prefix_length + length : 0);
    }
    if (!(buffer = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)offset[n] + padding)))
        goto done;
    char *to = PyBytes_AS_STRING(buffer);
    for (Py_ssize_t i = 0; i < n; i++)
        if (offset[i] < offset[i + 1]) {
            PyObject *bytes = PyList_GET_ITEM(encoded, i);
            memcpy(to + offset[i], prefix, (size_t)prefix_length);
            memcpy(to + offset[i] + prefix_length, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
        }
    memset(to + offset[n], 0, (size_t)padding);
    if (!(found = PyMem_Malloc((size_t)(offset[n] + 1) * sizeof(int64_t)))) {
        PyErr_NoMemory();
        goto done;
    }
    int64_t count;
    Py_BEGIN_ALLOW_THREADS
    count = cut_pieces((const unsigned char *)to, offset, n, cuts_newlines, found);
    Py_END_ALLOW_THREADS
    if ((starts = PyBytes_FromStringAndSize((const char *)found, (Py_ssize_t)count * (Py_ssize_t)sizeof(int64_t))))
        result = PyTuple_Pack(3, buffer, starts, offsets);
done:
    PyMem_Free(found);
    Py_DECREF(texts);
    Py_XDECREF(encoded);
    Py_XDECREF(offsets);
    Py_XDECREF(buffer);
    Py_XDECREF(starts);
    return result;
}

typedef struct {
    const uint64_t *keys;
    const int32_t *starts, *counts;
    uint64_t slots;
    int shift;
} Part;

typedef struct {
    uint64_t row[8];
    uint64_t slot;
    int part;
} Word;

static void read_word(Word *word, const char *text, int64_t length, const uint64_t *multipliers, const Part *parts)
{
    word->part = length < 16 ? 0 : length < 32 ? 1 : 2;
    int columns = 2 << word->part;
    memset(word->row, 0, sizeof(word->row));
    memcpy(word->row, text, (size_t)length);
    word->row[columns - 1] |= (uint64_t)length << 56;
    uint64_t mixed = word->row[0] * multipliers[0];
    for (int column = 1; column < columns; column++) {
        mixed ^= mixed >> 32;
        mixed += word->row[column];
        mixed *= multipliers[column];
    }
    mixed ^= mixed >> 32;
    mixed *= multipliers[0];
    const Part *part = &parts[word->part];
    word->slot = mixed >> part->shift;
    PREFETCH(part->keys + word->slot * columns);
}

static void find_word(const Word *word, const Part *parts, int64_t *start, int64_t *count)
{
    const Part *part = &parts[word->part];
    int columns = 2 << word->part;
    uint64_t slot = word->slot;
    for (int probe = 0; probe < PROBES; probe++) {
        const uint64_t *key = part->keys + slot * columns;
        /* The last column, which is never 0, is written when the others are there. */
        uint64_t last = LOAD_ACQUIRE(&key[columns - 1]);
        if (last == 0)
            break;
        if (last == word->row[columns - 1] && memcmp(key, word->row, 8 * (size_t)(columns - 1)) == 0) {
            *start = part->starts[slot];
            *count = part->counts[slot];
            return;
        }
        slot = (slot + 1) & (part->slots - 1);
    }
    *start = 0;
    *count = ABSENT;
}

static void find_words(const char *text, const int64_t *begins, const int64_t *lengths, int64_t n, const Part *parts,
                       const uint64_t *multipliers, int64_t *starts, int64_t *counts)
{
    Word words[WORDS_AHEAD];
    for (int64_t first = 0; first < n; first += WORDS_AHEAD) {
        int64_t some = n - first < WORDS_AHEAD ? n - first : WORDS_AHEAD;
        for (int64_t i = 0; i < some; i++)
            if (lengths[first + i] <= LONGEST)
                read_word(&words[i], text + begins[first + i], lengths[first + i], multipliers, parts);
        for (int64_t i = 0; i < some; i++) {
            if (lengths[first + i] <= LONGEST)
                find_word(&words[i], parts, &starts[first + i], &counts[first + i]);
            else {
                starts[first + i] = 0;
                counts[first + i] = ABSENT;
            }
        }
    }
}

static PyObject *find(PyObject *self, PyObject *args)
{
    Py_buffer text, begins, lengths, multipliers, starts, counts, keys[3], part_starts[3], part_counts[3];
    (void)self;
    /* The arrays of the parts are no tuples: the C API overruns its list of buffers in nested ones. */
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*y*y*y*y*y*y*y*w*w*", &text, &begins, &lengths, &multipliers, &keys[0],
                          &keys[1], &keys[2], &part_starts[0], &part_starts[1], &part_starts[2], &part_counts[0],
                          &part_counts[1], &part_counts[2], &starts, &counts))
        return NULL;
    Part parts[3];
    for (int i = 0; i < 3; i++) {
        uint64_t slots = (uint64_t)part_starts[i].len / sizeof(int32_t);
        int bits = 0;
        while (((uint64_t)1 << bits) < slots)
            bits++;
        parts[i] = (Part){keys[i].buf, part_starts[i].buf, part_counts[i].buf, slots, 64 - bits};
    }
    Py_BEGIN_ALLOW_THREADS
    find_words(text.buf, begins.buf, lengths.buf, begins.len / (Py_ssize_t)sizeof(int64_t), parts, multipliers.buf,
               starts.buf, counts.buf);
    Py_END_ALLOW_THREADS
    Py_buffer *all[] = {&text, &begins, &lengths, &multipliers, &starts, &counts};
    for (int i = 0; i < 6; i++)
        PyBuffer_Release(all[i]);
    for (int i = 0; i < 3; i++) {
        PyBuffer_Release(&keys[i]);
        PyBuffer_Release(&part_starts[i]);
        PyBuffer_Release(&part_counts[i]);
    }
    Py_RETURN_NONE;
}

static PyObject *gather(PyObject *self, PyObject *args)
{
    Py_buffer pool, starts, counts, ids;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*y*w*", &pool, &starts, &counts, &ids))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    const int64_t *start = starts.buf, *count = counts.buf;
    const int32_t *from = pool.buf;
    int32_t *to = ids.buf;
    int64_t n = starts.len / (Py_ssize_t)sizeof(int64_t);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < count[i]; k++)
            *to++ = from[start[i] + k];
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&pool);
    PyBuffer_Release(&starts);
    PyBuffer_Release(&counts);
    PyBuffer_Release(&ids);
    Py_RETURN_NONE;
}

static void prefetch_row(const char *row, int64_t bytes)
{
    for (int64_t byte = 0; byte < bytes; byte += CACHE_LINE)
        PREFETCH(row + byte);
}

/* The sums are in the order of the tokens, each rounded to float32 as the ones before it, whatever the processor. */
EVERY_PROCESSOR
static void sum_float32(const float *table, int64_t dim, const int32_t *columns, const int32_t *ends, int64_t n,
                        const float *scales, float *sums)
{
    int64_t last = ends[n];
    for (int64_t bag = 0; bag < n; bag++) {
        float *restrict sum = sums + bag * dim;
        int64_t token = ends[bag], end = ends[bag + 1];
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
}

EVERY_PROCESSOR
static void sum_int8(const int8_t *table, int64_t dim, const int32_t *columns, const int32_t *ends, int64_t n,
                     const float *scales, float *sums)
{
    int64_t last = ends[n];
    for (int64_t bag = 0; bag < n; bag++) {
        float *restrict sum = sums + bag * dim;
        for (int64_t j = 0; j < dim; j++)
            sum[j] = 0;
        for (int64_t token = ends[bag]; token < ends[bag + 1]; token++) {
            const int8_t *restrict row = table + columns[token] * dim;
            float scale = scales ? scales[token] : 1;
            if (token + ROWS_AHEAD < last)
                prefetch_row((const char *)(table + columns[token + ROWS_AHEAD] * dim), dim);
            for (int64_t j = 0; j < dim; j++)
                sum[j] += scale * (float)row[j];
        }
    }
}

static PyObject *sum_rows(PyObject *self, PyObject *args)
{
    Py_buffer table, columns, ends, sums, scales = {0};
    PyObject *maybe_scales;
    Py_ssize_t dim;
    int is_int8;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*npy*y*Ow*", &table, &dim, &is_int8, &columns, &ends, &maybe_scales, &sums))
        return NULL;
    if (maybe_scales == Py_None || PyObject_GetBuffer(maybe_scales, &scales, PyBUF_SIMPLE) == 0) {
        int64_t n = ends.len / (Py_ssize_t)sizeof(int32_t) - 1;
        Py_BEGIN_ALLOW_THREADS
        if (is_int8)
            sum_int8(table.buf, dim, columns.buf, ends.buf, n, scales.buf, sums.buf);
        else
            sum_float32(table.buf, dim, columns.buf, ends.buf, n, scales.buf, sums.buf);
        Py_END_ALLOW_THREADS
        if (maybe_scales != Py_None)
            PyBuffer_Release(&scales);
    }
    PyBuffer_Release(&table);
    PyBuffer_Release(&columns);
    PyBuffer_Release(&ends);
    PyBuffer_Release(&sums);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* The mean of a few float32 rows that are given as a list of ints, of which to make an array would take longer. */
static PyObject *mean_few(PyObject *self, PyObject *args)
{
    Py_buffer table, mean;
    PyObject *ids;
    Py_ssize_t dim;
    int32_t columns[MOST_OF_FEW];
    (void)self;
    if (!PyArg_ParseTuple(args, "y*nO!w*", &table, &dim, &PyList_Type, &ids, &mean))
        return NULL;
    int32_t ends[2] = {0, (int32_t)PyList_GET_SIZE(ids)};
    if (ends[1] > MOST_OF_FEW)
        PyErr_SetString(PyExc_ValueError, "too many rows");
    else
        for (int32_t i = 0; i < ends[1]; i++)
            columns[i] = (int32_t)PyLong_AsLong(PyList_GET_ITEM(ids, i));
    if (!PyErr_Occurred()) {
        float *sum = mean.buf;
        sum_float32(table.buf, dim, columns, ends, 1, NULL, sum);
        for (Py_ssize_t j = 0; j < dim; j++)
            sum[j] /= (float)ends[1];
    }
    PyBuffer_Release(&table);
    PyBuffer_Release(&mean);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"cut", cut, METH_VARARGS, "Put texts end to end, and cut them into pieces."},
    {"find", find, METH_VARARGS, "Look words up."},
    {"gather", gather, METH_VARARGS, "Put the token ids of words one behind the other."},
    {"mean_few", mean_few, METH_VARARGS, "Compute the mean of at most 256 rows of a table."},
    {"sum_rows", sum_rows, METH_VARARGS, "Sum rows of a table, each bag's by itself."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernel", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernel(void)
{
    return PyModule_Create(&module);
}
