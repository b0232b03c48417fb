/* The extension `_kernel`: the inner loops of encoding. */

#include "kernel.h"

static PyMethodDef functions[] = {
    {"cut", cut, METH_VARARGS, "Put texts end to end, and cut them into pieces."},
    {"distinct", distinct, METH_VARARGS, "Number different words."},
    {"find", find, METH_VARARGS, "Look words up."},
    {"gather", gather, METH_VARARGS, "Put the token ids of words one behind the other."},
    {"insert", insert, METH_VARARGS, "Enter words in the table."},
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
