/* The product of rows with the second factor of a table: `project` for projection.py. */

#include "kernel.h"

/* Columns and rows of a product that are summed together, so that they and the rows of the factor stay in the cache. */
#define TILE_COLUMNS 1024
#define TILE_ROWS 32

/* Add to n sums the products of eight numbers of a vector with eight rows of a projection, in that order. */
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

/* Multiply n rows [dim] by a projection [dim, width], in tiles; each sum is in the order of dim. */
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

PyObject *project(PyObject *self, PyObject *args)
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
