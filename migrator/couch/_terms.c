/* Erlang's external terms of a JSON object, as migrator/couch/revision.py makes them: that is the reference.
 *
 * Walks the values that a JSON parser made: exact str, int, float, bool, None, dict and list. It runs no Python
 * code, keeps its own stack, so that depth costs memory and not the process's stack, and checks every size.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <float.h>
#include <stdint.h>
#include <string.h>

#define MAX_SMALL_LIST 65535
#define MAX_INTEGER_BYTES 128

typedef struct {
    char *bytes;
    size_t size;
    size_t room;
} Buffer;

/* A container that is being walked. It holds a reference of its own. */
typedef struct {
    PyObject *container;
    Py_ssize_t at;
    int is_list;
} Frame;

typedef struct {
    Frame *frames;
    size_t size;
    size_t room;
} Stack;

static int
uncertain(void)
{
    PyErr_SetString(PyExc_ValueError, "the server refuses this, or its version decides");
    return -1;
}

/* Make room for more bytes, twice as much each time. */
static int
reserve(Buffer *buffer, size_t more)
{
    if (more > (size_t)PY_SSIZE_T_MAX / 4 - buffer->size) {
        PyErr_NoMemory();
        return -1;
    }
    size_t least = buffer->size + more;
    if (least <= buffer->room) {
        return 0;
    }
    size_t room = buffer->room * 2 > least ? buffer->room * 2 : least;
    char *bytes = PyMem_Realloc(buffer->bytes, room);
    if (bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    buffer->bytes = bytes;
    buffer->room = room;
    return 0;
}

static int
append(Buffer *buffer, const void *bytes, size_t size)
{
    if (reserve(buffer, size) < 0) {
        return -1;
    }
    memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size += size;
    return 0;
}

/* A tag and four bytes, the highest first: the head of a string, a list or a 32-bit integer. */
static int
append_head(Buffer *buffer, char tag, uint32_t value)
{
    unsigned char head[5] = {
        (unsigned char)tag,
        (unsigned char)(value >> 24),
        (unsigned char)(value >> 16),
        (unsigned char)(value >> 8),
        (unsigned char)value,
    };
    return append(buffer, head, sizeof head);
}

static int
append_string(Buffer *buffer, PyObject *text)
{
    Py_ssize_t size;
    /* Fails for half a surrogate pair with an error that is a ValueError. */
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &size);
    if (bytes == NULL) {
        return -1;
    }
    if ((uint64_t)size > UINT32_MAX) {
        return uncertain();
    }
    if (append_head(buffer, 'm', (uint32_t)size) < 0) {
        return -1;
    }
    return append(buffer, bytes, (size_t)size);
}

static int
append_float(Buffer *buffer, PyObject *number)
{
    double value = PyFloat_AsDouble(number);
    /* Some versions of the server round these otherwise. */
    if (-DBL_MIN <= value && value <= DBL_MIN && value != 0.0) {
        return uncertain();
    }
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    unsigned char term[9] = {'F'};
    for (int index = 0; index < 8; index++) {
        term[1 + index] = (unsigned char)(bits >> (56 - 8 * index));
    }
    return append(buffer, term, sizeof term);
}

/* An integer's size in bytes and its sign, and its bytes, the lowest first. */
static int
append_big(Buffer *buffer, const unsigned char *bytes, size_t size, int negative)
{
    unsigned char head[3] = {'n', (unsigned char)size, (unsigned char)negative};
    if (append(buffer, head, sizeof head) < 0) {
        return -1;
    }
    return append(buffer, bytes, size);
}

/* An integer beyond 64 bits. */
static int
append_huge(Buffer *buffer, PyObject *number, int negative)
{
    int done = -1;
    PyObject *positive = PyNumber_Absolute(number);
    PyObject *bits = positive == NULL ? NULL : PyObject_CallMethod(positive, "bit_length", NULL);
    PyObject *data = NULL;
    if (bits == NULL) {
        goto end;
    }
    Py_ssize_t length = PyLong_AsSsize_t(bits);
    if (length < 0) {
        goto end;
    }
    if (length > 8 * MAX_INTEGER_BYTES) {
        uncertain();
        goto end;
    }
    Py_ssize_t size = (length + 7) / 8;
    data = PyObject_CallMethod(positive, "to_bytes", "ns", size, "little");
    char *bytes;
    Py_ssize_t found;
    if (data == NULL || PyBytes_AsStringAndSize(data, &bytes, &found) < 0) {
        goto end;
    }
    if (found == MAX_INTEGER_BYTES) {
        /* From 2**1024 - 2**970 on, the highest 54 bits being set, the nearest float is infinite. */
        const unsigned char *all = (const unsigned char *)bytes;
        int infinite = (all[121] & 0xFC) == 0xFC;
        for (int index = 122; index < MAX_INTEGER_BYTES; index++) {
            infinite = infinite && all[index] == 0xFF;
        }
        if (infinite) {
            uncertain();
            goto end;
        }
    }
    done = append_big(buffer, (const unsigned char *)bytes, (size_t)found, negative);
end:
    Py_XDECREF(positive);
    Py_XDECREF(bits);
    Py_XDECREF(data);
    return done;
}

static int
append_integer(Buffer *buffer, PyObject *number)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow != 0) {
        return append_huge(buffer, number, overflow < 0);
    }
    if (value == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (0 <= value && value < 256) {
        unsigned char term[2] = {'a', (unsigned char)value};
        return append(buffer, term, sizeof term);
    }
    if (INT32_MIN <= value && value <= INT32_MAX) {
        return append_head(buffer, 'b', (uint32_t)(int32_t)value);
    }
    uint64_t positive = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    unsigned char bytes[8];
    size_t size = 0;
    for (; positive != 0; positive >>= 8) {
        bytes[size++] = (unsigned char)positive;
    }
    return append_big(buffer, bytes, size, value < 0);
}

/* Erlang writes a list of at most 65,535 bytes as if it were a string: 1 when this is one, and was written. */
static int
append_bytes(Buffer *buffer, PyObject *list, Py_ssize_t size)
{
    if (size > MAX_SMALL_LIST || reserve(buffer, (size_t)size + 3) < 0) {
        return size > MAX_SMALL_LIST ? 0 : -1;
    }
    unsigned char *term = (unsigned char *)buffer->bytes + buffer->size;
    for (Py_ssize_t index = 0; index < size; index++) {
        PyObject *item = PyList_GetItem(list, index);
        if (item == NULL) {
            return -1;
        }
        if (!Py_IS_TYPE(item, &PyLong_Type)) {
            return 0;
        }
        int overflow;
        long long value = PyLong_AsLongLongAndOverflow(item, &overflow);
        if (overflow != 0 || value < 0 || value > 255) {
            return 0;
        }
        term[3 + index] = (unsigned char)value;
    }
    term[0] = 'k';
    term[1] = (unsigned char)(size >> 8);
    term[2] = (unsigned char)size;
    buffer->size += (size_t)size + 3;
    return 1;
}

static int
push(Stack *stack, PyObject *container, int is_list)
{
    if (stack->size == stack->room) {
        if (stack->room > (size_t)PY_SSIZE_T_MAX / 4 / sizeof(Frame)) {
            PyErr_NoMemory();
            return -1;
        }
        size_t room = stack->room ? stack->room * 2 : 16;
        Frame *frames = PyMem_Realloc(stack->frames, room * sizeof(Frame));
        if (frames == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        stack->frames = frames;
        stack->room = room;
    }
    Py_INCREF(container);
    stack->frames[stack->size++] = (Frame){container, 0, is_list};
    return 0;
}

/* Begin an object or a list; its members follow when it is on the stack. */
static int
open_container(Buffer *buffer, Stack *stack, PyObject *value, int is_list)
{
    Py_ssize_t size = is_list ? PyList_Size(value) : PyDict_Size(value);
    if (size < 0) {
        return -1;
    }
    if (!is_list && append(buffer, "h\x01", 2) < 0) {
        return -1;
    }
    if (size == 0) {
        return append(buffer, "j", 1);
    }
    if ((uint64_t)size > UINT32_MAX) {
        return uncertain();
    }
    if (is_list) {
        int written = append_bytes(buffer, value, size);
        if (written != 0) {
            return written < 0 ? -1 : 0;
        }
    }
    if (append_head(buffer, 'l', (uint32_t)size) < 0) {
        return -1;
    }
    return push(stack, value, is_list);
}

static int
append_value(Buffer *buffer, Stack *stack, PyObject *value)
{
    if (Py_IS_TYPE(value, &PyUnicode_Type)) {
        return append_string(buffer, value);
    }
    if (Py_IS_TYPE(value, &PyLong_Type)) {
        return append_integer(buffer, value);
    }
    if (Py_IS_TYPE(value, &PyFloat_Type)) {
        return append_float(buffer, value);
    }
    if (Py_IS_TYPE(value, &PyDict_Type)) {
        return open_container(buffer, stack, value, 0);
    }
    if (Py_IS_TYPE(value, &PyList_Type)) {
        return open_container(buffer, stack, value, 1);
    }
    if (Py_IsNone(value)) {
        return append(buffer, "d\x00\x04null", 7);
    }
    if (Py_IsTrue(value)) {
        return append(buffer, "d\x00\x04true", 7);
    }
    if (Py_IsFalse(value)) {
        return append(buffer, "d\x00\x05" "false", 8);
    }
    PyErr_SetString(PyExc_TypeError, "not a value that a JSON parser makes");
    return -1;
}

/* The next member of the container on top; the container is left when there is none. */
static int
step(Buffer *buffer, Stack *stack)
{
    Frame *frame = &stack->frames[stack->size - 1];
    PyObject *key = NULL;
    PyObject *value = NULL;
    if (frame->is_list) {
        if (frame->at < PyList_Size(frame->container)) {
            value = PyList_GetItem(frame->container, frame->at++);
            if (value == NULL) {
                return -1;
            }
        }
    } else {
        (void)PyDict_Next(frame->container, &frame->at, &key, &value);
    }
    if (value == NULL) {
        stack->size--;
        Py_DECREF(frame->container);
        return append(buffer, "j", 1);
    }
    if (key != NULL) {
        if (!Py_IS_TYPE(key, &PyUnicode_Type)) {
            PyErr_SetString(PyExc_TypeError, "an object's key is not a string");
            return -1;
        }
        if (append(buffer, "h\x02", 2) < 0 || append_string(buffer, key) < 0) {
            return -1;
        }
    }
    return append_value(buffer, stack, value);
}

static PyObject *
terms(PyObject *Py_UNUSED(module), PyObject *document)
{
    if (!Py_IS_TYPE(document, &PyDict_Type)) {
        PyErr_SetString(PyExc_TypeError, "not an object that a JSON parser makes");
        return NULL;
    }
    Buffer buffer = {NULL, 0, 0};
    Stack stack = {NULL, 0, 0};
    PyObject *made = NULL;
    int status = reserve(&buffer, 1024);
    if (status == 0) {
        status = open_container(&buffer, &stack, document, 0);
    }
    while (status == 0 && stack.size > 0) {
        status = step(&buffer, &stack);
    }
    while (stack.size > 0) {
        Py_DECREF(stack.frames[--stack.size].container);
    }
    if (status == 0) {
        made = PyBytes_FromStringAndSize(buffer.bytes, (Py_ssize_t)buffer.size);
    }
    PyMem_Free(stack.frames);
    PyMem_Free(buffer.bytes);
    return made;
}

static PyMethodDef methods[] = {
    {"terms", terms, METH_O, "The external term format of `{[{Key, Value}, ...]}`; ValueError where it is not certain."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_terms", "Erlang's external terms of a JSON object.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__terms(void)
{
    return PyModule_Create(&module);
}
