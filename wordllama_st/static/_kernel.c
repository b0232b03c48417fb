/* The inner loops of encoding: the look-up of words and the sums of token embeddings.

   Each function does what the NumPy code of its module does, to the bit, and most of it without holding the GIL: `cut`
   for word_cache/tokenizer.py, `find` and `gather` for word_cache/table.py, `mean_rows` and `mean_few` for pooling.py, `project` for projection.py.
   Where this extension could not be compiled, that code runs. The arguments are C-contiguous arrays whose dtypes and
   shapes the Python side guarantees; indices are checked there. */

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

/* Rows of words are of 2, 4, 8 or 16 columns of 8 bytes, each kind in a part of its own. */
#define PARTS 4
#define MOST_COLUMNS 16
#define LONGEST (8 * MOST_COLUMNS - 1)
#define ABSENT (-2)
#define PROBES 16
#define CACHE_LINE 64
/* Rows that are summed in float32; and those whose numbers are given as a list, at most. */
#define SEGMENT 256
/* Words whose slots are fetched while those before them are compared; and rows likewise. */
#define WORDS_AHEAD 16
#define ROWS_AHEAD 4
/* Columns and rows of a product that are summed together, so that they and the rows of the factor stay in the cache. */
#define TILE_COLUMNS 1024
#define TILE_ROWS 32

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
    (void)self;
    if (!PyArg_ParseTuple(args, "Os#pn", &given, &prefix, &prefix_length, &cuts_newlines, &padding))
        return NULL;
    if (!(texts = PySequence_Fast(given, "texts are a sequence")))
        return NULL;
    Py_ssize_t n = PySequence_Fast_GET_SIZE(texts);
    const char **content = PyMem_Calloc((size_t)n + 1, sizeof(char *));
    if (!content)
        PyErr_NoMemory();
    if (!content || !(encoded = PyList_New(n)) ||
        !(offsets = PyBytes_FromStringAndSize(NULL, (n + 1) * (Py_ssize_t)sizeof(int64_t))))
        goto done;
    int64_t *offset = (int64_t *)PyBytes_AS_STRING(offsets);
    offset[0] = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        /* A str of ASCII alone is its own UTF-8. The list keeps what is copied later, when other threads run. */
        PyObject *text = PySequence_Fast_GET_ITEM(texts, i);
        int is_ascii = PyUnicode_Check(text) && PyUnicode_IS_COMPACT_ASCII(text);
        PyObject *kept = is_ascii ? Py_NewRef(text) : PyUnicode_AsUTF8String(text);
        if (!kept)
            goto done;
        PyList_SET_ITEM(encoded, i, kept);
        Py_ssize_t length = is_ascii ? PyUnicode_GET_LENGTH(kept) : PyBytes_GET_SIZE(kept);
        content[i] = is_ascii ? (const char *)PyUnicode_DATA(kept) : PyBytes_AS_STRING(kept);
        offset[i + 1] = offset[i] + (length ? prefix_length + length : 0);
    }
    if (!(buffer = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)offset[n] + padding)) ||
        !(starts = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)((offset[n] + 1) * (int64_t)sizeof(int64_t)))))
        goto done;
    char *to = PyBytes_AS_STRING(buffer);
    int64_t *found = (int64_t *)PyBytes_AS_STRING(starts), count;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < n; i++)
        if (offset[i] < offset[i + 1]) {
            memcpy(to + offset[i], prefix, (size_t)prefix_length);
            memcpy(to + offset[i] + prefix_length, content[i], (size_t)(offset[i + 1] - offset[i] - prefix_length));
        }
    memset(to + offset[n], 0, (size_t)padding);
    count = cut_pieces((const unsigned char *)to, offset, n, cuts_newlines, found);
    Py_END_ALLOW_THREADS
    if (_PyBytes_Resize(&starts, (Py_ssize_t)count * (Py_ssize_t)sizeof(int64_t)) == 0)
        result = PyTuple_Pack(3, buffer, starts, offsets);
done:
    PyMem_Free(content);
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
    uint64_t row[MOST_COLUMNS];
    uint64_t slot;
    int part;
} Word;

/* Read the row of a word and return its hash. There is room behind the last word to read whole columns. */
static inline uint64_t read_row(uint64_t *row, const char *text, int64_t length, int columns,
                                const uint64_t *multipliers)
{
    uint64_t mixed = 0;
    for (int column = 0; column < columns; column++) {
        int64_t left = length - 8 * column;
        uint64_t read;
        memcpy(&read, text + 8 * column, sizeof(read));
        row[column] = left >= 8 ? read : left <= 0 ? 0 : read & (~(uint64_t)0 >> (64 - 8 * left));
        if (column == columns - 1)
            row[column] |= (uint64_t)length << 56;
        mixed ^= mixed >> 32;
        mixed += row[column];
        mixed *= multipliers[column];
    }
    mixed ^= mixed >> 32;
    return mixed * multipliers[0];
}

static void read_word(Word *word, const char *text, int64_t length, const uint64_t *multipliers, const Part *parts)
{
    uint64_t mixed;
    /* Numbers of columns that the compiler knows, so that no loop is left of the most frequent ones. */
    if (length < 16)
        word->part = 0, mixed = read_row(word->row, text, length, 2, multipliers);
    else if (length < 32)
        word->part = 1, mixed = read_row(word->row, text, length, 4, multipliers);
    else if (length < 64)
        word->part = 2, mixed = read_row(word->row, text, length, 8, multipliers);
    else
        word->part = 3, mixed = read_row(word->row, text, length, 16, multipliers);
    const Part *part = &parts[word->part];
    word->slot = mixed >> part->shift;
    PREFETCH(part->keys + word->slot * (uint64_t)(2 << word->part));
    PREFETCH(part->starts + word->slot);
    PREFETCH(part->counts + word->slot);
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
        uint64_t other = last ^ word->row[columns - 1];
        for (int column = 0; column < columns - 1; column++)
            other |= key[column] ^ word->row[column];
        if (other == 0) {
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
    Py_buffer text, begins, lengths, multipliers, starts, counts, keys[PARTS], part_starts[PARTS], part_counts[PARTS];
    (void)self;
    /* The arrays of the parts are no tuples: the C API overruns its list of buffers in nested ones. */
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*y*y*y*y*y*y*y*y*y*y*w*w*", &text, &begins, &lengths, &multipliers, &keys[0],
                          &keys[1], &keys[2], &keys[3], &part_starts[0], &part_starts[1], &part_starts[2],
                          &part_starts[3], &part_counts[0], &part_counts[1], &part_counts[2], &part_counts[3], &starts,
                          &counts))
        return NULL;
    Part parts[PARTS];
    for (int i = 0; i < PARTS; i++) {
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
    for (int i = 0; i < PARTS; i++) {
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

typedef struct {
    const void *table;
    int64_t dim;
    int is_int8;
    const int32_t *columns;
    const float *scales;
} Rows;

static void sum_tokens(const Rows *rows, int64_t token, int64_t end, int64_t last, float *sum)
{
    if (rows->is_int8)
        sum_int8(rows->table, rows->dim, rows->columns, token, end, last, rows->scales, sum);
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

static PyObject *mean_rows(PyObject *self, PyObject *args)
{
    Py_buffer table, columns, offsets, means, scales = {0};
    PyObject *maybe_scales;
    Py_ssize_t dim;
    int is_int8;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*npy*y*Ow*", &table, &dim, &is_int8, &columns, &offsets, &maybe_scales, &means))
        return NULL;
    double *wide = PyMem_Malloc((size_t)dim * sizeof(double) + 1);
    if (!wide)
        PyErr_NoMemory();
    else if (maybe_scales == Py_None || PyObject_GetBuffer(maybe_scales, &scales, PyBUF_SIMPLE) == 0) {
        Rows rows = {table.buf, dim, is_int8, columns.buf, scales.buf};
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
static PyObject *mean_few(PyObject *self, PyObject *args)
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
        Rows rows = {table.buf, dim, 0, columns, NULL};
        mean_bags(&rows, offsets, 1, NULL, mean.buf);
    }
    PyBuffer_Release(&table);
    PyBuffer_Release(&mean);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* Add to n sums the products of a vector's numbers k to k + 7 with the rows k to k + 7 of a projection, in that order. */
EVERY_PROCESSOR
static void add_eight(const float *vector, const float *projection, int64_t width, int64_t n, float *restrict sums)
{
    const float *restrict a = projection, *restrict b = a + width, *restrict c = b + width, *restrict d = c + width;
    const float *restrict e = d + width, *restrict f = e + width, *restrict g = f + width, *restrict h = g + width;
    float t = vector[0], u = vector[1], v = vector[2], w = vector[3];
    float x = vector[4], y = vector[5], z = vector[6], last = vector[7];
    for (int64_t j = 0; j < n; j++)
        sums[j] = (((((((sums[j] + t * a[j]) + u * b[j]) + v * c[j]) + w * d[j]) + x * e[j]) + y * f[j]) + z * g[j]) +
                  last * h[j];
}

EVERY_PROCESSOR
static void add_one(float number, const float *restrict row, int64_t n, float *restrict sums)
{
    for (int64_t j = 0; j < n; j++)
        sums[j] += number * row[j];
}

/* Multiply n rows [dim] by a projection [dim, width]; rows and columns are tiled, and each sum is in the order of dim. */
static void project_rows(const float *rows, int64_t n, int64_t dim, const float *projection, int64_t width,
                         float *products)
{
    memset(products, 0, (size_t)(n * width) * sizeof(float));
    for (int64_t top = 0; top < n; top += TILE_ROWS)
        for (int64_t left = 0; left < width; left += TILE_COLUMNS) {
            int64_t bottom = n - top < TILE_ROWS ? n : top + TILE_ROWS;
            int64_t columns = width - left < TILE_COLUMNS ? width - left : TILE_COLUMNS, k = 0;
            for (; k + 8 <= dim; k += 8)
                for (int64_t i = top; i < bottom; i++)
                    add_eight(rows + i * dim + k, projection + k * width + left, width, columns,
                              products + i * width + left);
            for (; k < dim; k++)
                for (int64_t i = top; i < bottom; i++)
                    add_one(rows[i * dim + k], projection + k * width + left, columns, products + i * width + left);
        }
}

static PyObject *project(PyObject *self, PyObject *args)
{
    Py_buffer rows, projection, products;
    Py_ssize_t width;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*nw*", &rows, &projection, &width, &products))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    int64_t dim = projection.len / (width * (Py_ssize_t)sizeof(float));
    project_rows(rows.buf, rows.len / (dim * (Py_ssize_t)sizeof(float)), dim, projection.buf, width, products.buf);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&rows);
    PyBuffer_Release(&projection);
    PyBuffer_Release(&products);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"cut", cut, METH_VARARGS, "Put texts end to end, and cut them into pieces."},
    {"find", find, METH_VARARGS, "Look words up."},
    {"gather", gather, METH_VARARGS, "Put the token ids of words one behind the other."},
    {"mean_few", mean_few, METH_VARARGS, "Compute the mean of at most 256 rows of a table."},
    {"mean_rows", mean_rows, METH_VARARGS, "Compute the mean of rows of a table, each bag's by itself."},
    {"project", project, METH_VARARGS, "Multiply rows by a projection."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernel", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernel(void)
{
    return PyModule_Create(&module);
}
