/* What the files of the extension `_kernel` share.

   Each function does what the NumPy code of its module does, to the bit, and most of it without holding the GIL; where
   the extension could not be compiled, that code runs. The arguments are C-contiguous arrays whose dtypes and shapes
   the Python side guarantees; indices are checked there. */

#ifndef KERNEL_H
#define KERNEL_H

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
#define STORE_RELEASE(address, value) __atomic_store_n(address, value, __ATOMIC_RELEASE)
#else
#define PREFETCH(address) ((void)0)
#define LOAD_ACQUIRE(address) (*(const volatile uint64_t *)(address))
#define STORE_RELEASE(address, value) (*(volatile uint64_t *)(address) = (value))
#endif

#ifdef _MSC_VER
#define restrict __restrict
#endif

PyObject *cut(PyObject *self, PyObject *args);
PyObject *distinct(PyObject *self, PyObject *args);
PyObject *find(PyObject *self, PyObject *args);
PyObject *gather(PyObject *self, PyObject *args);
PyObject *insert(PyObject *self, PyObject *args);
PyObject *mean_few(PyObject *self, PyObject *args);
PyObject *mean_rows(PyObject *self, PyObject *args);
PyObject *project(PyObject *self, PyObject *args);

#endif
