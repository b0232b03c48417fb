/* The look-up of words: `cut` for word_cache/tokenizer.py; `find`, `insert`, `distinct` and `gather`
   for word_cache/table.py. */

#include "kernel.h"

/* Rows of words are of 2, 4, 8 or 16 columns of 8 bytes, each kind in a part of its own. */
#define PARTS 4
#define MOST_COLUMNS 16
#define LONGEST (8 * MOST_COLUMNS - 1)
#define ABSENT (-2)
#define PROBES 16
/* Words whose slots are fetched while those before them are compared. */
#define WORDS_AHEAD 16

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

PyObject *cut(PyObject *self, PyObject *args)
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

/* How far a hash is shifted to the right to be the number of a slot, of a power of two of slots or more. */
static int shift_of(int64_t slots)
{
    int bits = 1;
    while (((int64_t)1 << bits) < slots)
        bits++;
    return 64 - bits;
}

static inline uint64_t hash_of_row(const uint64_t *row, int columns, const uint64_t *multipliers)
{
    uint64_t mixed = 0;
    for (int column = 0; column < columns; column++) {
        mixed ^= mixed >> 32;
        mixed += row[column];
        mixed *= multipliers[column];
    }
    mixed ^= mixed >> 32;
    return mixed * multipliers[0];
}

/* Read the row of a word and return its hash. There is room behind the last word to read whole columns. */
static inline uint64_t read_row(uint64_t *row, const char *text, int64_t length, int columns,
                                const uint64_t *multipliers)
{
    for (int column = 0; column < columns; column++) {
        int64_t left = length - 8 * column;
        uint64_t read;
        memcpy(&read, text + 8 * column, sizeof(read));
        row[column] = left >= 8 ? read : left <= 0 ? 0 : read & (~(uint64_t)0 >> (64 - 8 * left));
        if (column == columns - 1)
            row[column] |= (uint64_t)length << 56;
    }
    return hash_of_row(row, columns, multipliers);
}

/* The part that words of a length are in, whose rows have 2 << part columns. */
static inline int part_of(int64_t length)
{
    return (length >= 16) + (length >= 32) + (length >= 64);
}

/* Read the row of a word of a part, and return its hash. */
static inline uint64_t read_row_of(int part, uint64_t *row, const char *text, int64_t length,
                                   const uint64_t *multipliers)
{
    /* Numbers of columns that the compiler knows, so that no loop is left of the most frequent ones. */
    switch (part) {
    case 0:
        return read_row(row, text, length, 2, multipliers);
    case 1:
        return read_row(row, text, length, 4, multipliers);
    case 2:
        return read_row(row, text, length, 8, multipliers);
    default:
        return read_row(row, text, length, 16, multipliers);
    }
}

static void read_word(Word *word, const char *text, int64_t length, const uint64_t *multipliers, const Part *parts)
{
    word->part = part_of(length);
    uint64_t mixed = read_row_of(word->part, word->row, text, length, multipliers);
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

PyObject *find(PyObject *self, PyObject *args)
{
    Py_buffer text, begins, lengths, multipliers, starts, counts, keys[PARTS], part_starts[PARTS], part_counts[PARTS];
    (void)self;
    /* The arrays of the parts are no tuples: the C API overruns its list of buffers in nested ones. */
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*y*y*y*y*y*y*y*y*y*y*w*w*", &text, &begins, &lengths, &multipliers,
                          &keys[0], &keys[1], &keys[2], &keys[3], &part_starts[0], &part_starts[1], &part_starts[2],
                          &part_starts[3], &part_counts[0], &part_counts[1], &part_counts[2], &part_counts[3], &starts,
                          &counts))
        return NULL;
    Part parts[PARTS];
    for (int i = 0; i < PARTS; i++) {
        int64_t slots = part_starts[i].len / (Py_ssize_t)sizeof(int32_t);
        parts[i] = (Part){keys[i].buf, part_starts[i].buf, part_counts[i].buf, (uint64_t)slots, shift_of(slots)};
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

/* Enter the rows of words that are not there, and return for how many there was room. Others may be reading. */
static int64_t insert_rows(uint64_t *keys, int32_t *starts, int32_t *counts, uint64_t slots, int shift, int columns,
                           const uint64_t *multipliers, const uint64_t *rows, const int32_t *new_starts,
                           const int32_t *new_counts, int64_t n)
{
    int64_t entered = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint64_t *row = rows + i * columns;
        uint64_t slot = hash_of_row(row, columns, multipliers) >> shift;
        for (int probe = 0; probe < PROBES; probe++, slot = (slot + 1) & (slots - 1)) {
            uint64_t *key = keys + slot * (uint64_t)columns;
            if (key[columns - 1])
                continue;
            starts[slot] = new_starts[i];
            counts[slot] = new_counts[i];
            memcpy(key, row, (size_t)(columns - 1) * sizeof(*row));
            STORE_RELEASE(&key[columns - 1], row[columns - 1]);
            entered++;
            break;
        }
    }
    return entered;
}

PyObject *insert(PyObject *self, PyObject *args)
{
    Py_buffer keys, starts, counts, multipliers, rows, new_starts, new_counts;
    (void)self;
    if (!PyArg_ParseTuple(args, "w*w*w*y*y*y*y*", &keys, &starts, &counts, &multipliers, &rows, &new_starts,
                          &new_counts))
        return NULL;
    int64_t slots = starts.len / (Py_ssize_t)sizeof(int32_t), entered;
    int columns = (int)(keys.len / slots / (Py_ssize_t)sizeof(uint64_t));
    Py_BEGIN_ALLOW_THREADS
    entered = insert_rows(keys.buf, starts.buf, counts.buf, (uint64_t)slots, shift_of(slots), columns, multipliers.buf,
                          rows.buf, new_starts.buf, new_counts.buf, new_starts.len / (Py_ssize_t)sizeof(int32_t));
    Py_END_ALLOW_THREADS
    Py_buffer *all[] = {&keys, &starts, &counts, &multipliers, &rows, &new_starts, &new_counts};
    for (int i = 0; i < 7; i++)
        PyBuffer_Release(all[i]);
    return PyLong_FromLongLong(entered);
}

/* Number different words from 0 on, and return how many there are. `slots` is an empty hash table of numbers + 1. */
static int64_t distinct_words(const char *text, const int64_t *begins, const int64_t *lengths, int64_t n,
                              const uint64_t *multipliers, int32_t *slots, int shift, int64_t *firsts, int64_t *numbers)
{
    uint64_t row[MOST_COLUMNS];
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        const char *word = text + begins[i];
        int32_t own = 0, *slot = &own; /* of a word that is too long, and counts as different from all */
        if (lengths[i] <= LONGEST) {
            uint64_t at = read_row_of(part_of(lengths[i]), row, word, lengths[i], multipliers) >> shift;
            for (slot = &slots[at]; *slot; slot = &slots[at]) {
                int64_t other = firsts[*slot - 1];
                if (lengths[other] == lengths[i] && !memcmp(text + begins[other], word, (size_t)lengths[i]))
                    break;
                at = (at + 1) & (~(uint64_t)0 >> shift);
            }
        }
        if (!*slot) {
            firsts[count++] = i;
            *slot = (int32_t)count;
        }
        numbers[i] = *slot - 1;
    }
    return count;
}

PyObject *distinct(PyObject *self, PyObject *args)
{
    Py_buffer text, begins, lengths, multipliers, firsts, numbers;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*y*y*w*w*", &text, &begins, &lengths, &multipliers, &firsts, &numbers))
        return NULL;
    int64_t n = begins.len / (Py_ssize_t)sizeof(int64_t), count = -1;
    int shift = shift_of(2 * n + 2);
    int32_t *slots = n < INT32_MAX ? PyMem_RawCalloc((size_t)1 << (64 - shift), sizeof(int32_t)) : NULL;
    if (slots) {
        Py_BEGIN_ALLOW_THREADS
        count = distinct_words(text.buf, begins.buf, lengths.buf, n, multipliers.buf, slots, shift, firsts.buf,
                               numbers.buf);
        Py_END_ALLOW_THREADS
        PyMem_RawFree(slots);
    }
    Py_buffer *all[] = {&text, &begins, &lengths, &multipliers, &firsts, &numbers};
    for (int i = 0; i < 6; i++)
        PyBuffer_Release(all[i]);
    return count < 0 ? PyErr_NoMemory() : PyLong_FromLongLong(count);
}

PyObject *gather(PyObject *self, PyObject *args)
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
