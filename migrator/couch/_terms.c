/* Erlang's external terms of a JSON text, as migrator/couch/revision.py makes them: that is the reference.
 *
 * Reads the text of a document once, without making Python's objects of it. Whatever is not plain (a repeated key, a
 * number that not every server rounds alike, a special field, anything wrong) is left to the reference, by answering
 * None. It keeps its own stack, so that depth costs memory and not the process's stack, and checks every bound.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <float.h>
#include <stdint.h>
#include <string.h>

/* A number of more characters is read by the reference, and so is an object of more keys. */
#define MAX_NUMBER 31
#define MAX_INTEGER_DIGITS 18
#define MAX_KEYS 2000
/* Erlang writes a list of at most so many bytes as if it were a string. */
#define MAX_BYTE_LIST 65535

enum { GONE_ON = 0, ASK_REFERENCE = -1, NO_MEMORY = -2 };

typedef struct {
    size_t at; /* where its bytes are in the output */
    uint32_t size;
    uint32_t hash;
} Key;

typedef struct {
    size_t head; /* where its head is in the output */
    uint32_t count;
    int is_list;
    int only_bytes; /* of a list: all members are integers from 0 to 255 */
    size_t first_key;
} Frame;

typedef struct {
    const unsigned char *at;
    const unsigned char *end;
    unsigned char *out;
    size_t size;
    size_t room;
    Frame *frames;
    size_t depth;
    size_t frames_room;
    Key *keys;
    size_t keys_size;
    size_t keys_room;
    PyObject *id; /* the _id as a text, where there is one */
} Reader;

/* Make room for one more item of an array. */
static int
grow(void **items, size_t *room, size_t size, size_t more, size_t item_size)
{
    if (more <= *room - size) {
        return GONE_ON;
    }
    size_t most = (size_t)PY_SSIZE_T_MAX / item_size;
    if (more > most || size > most - more) {
        return NO_MEMORY;
    }
    size_t wanted = *room > most / 2 ? most : *room * 2;
    if (wanted < size + more) {
        wanted = size + more;
    }
    void *made = PyMem_Realloc(*items, wanted * item_size);
    if (made == NULL) {
        return NO_MEMORY;
    }
    *items = made;
    *room = wanted;
    return GONE_ON;
}

static int
reserve(Reader *reader, size_t more)
{
    return grow((void **)&reader->out, &reader->room, reader->size, more, 1);
}

static int
append(Reader *reader, const void *bytes, size_t size)
{
    int status = reserve(reader, size);
    if (status == GONE_ON) {
        memcpy(reader->out + reader->size, bytes, size);
        reader->size += size;
    }
    return status;
}

static void
put_size(unsigned char *at, uint32_t value)
{
    at[0] = (unsigned char)(value >> 24);
    at[1] = (unsigned char)(value >> 16);
    at[2] = (unsigned char)(value >> 8);
    at[3] = (unsigned char)value;
}

static void
skip_space(Reader *reader)
{
    while (reader->at < reader->end) {
        unsigned char c = *reader->at;
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
            return;
        }
        reader->at++;
    }
}

/* Pass over one character that must come next. */
static int
expect(Reader *reader, unsigned char wanted)
{
    if (reader->at >= reader->end || *reader->at != wanted) {
        return ASK_REFERENCE;
    }
    reader->at++;
    return GONE_ON;
}

/* Four hexadecimal digits; -1 where they are not. */
static int32_t
hexadecimal(Reader *reader)
{
    int32_t value = 0;
    if (reader->end - reader->at < 4) {
        return -1;
    }
    for (int index = 0; index < 4; index++) {
        unsigned char c = *reader->at++;
        int digit;
        if ('0' <= c && c <= '9') {
            digit = c - '0';
        } else if ('a' <= c && c <= 'f') {
            digit = c - 'a' + 10;
        } else if ('A' <= c && c <= 'F') {
            digit = c - 'A' + 10;
        } else {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/* What follows a backslash. */
static int
read_escape(Reader *reader)
{
    if (reader->at >= reader->end) {
        return ASK_REFERENCE;
    }
    unsigned char c = *reader->at++;
    unsigned char made[4];
    switch (c) {
    case '"':
    case '\\':
    case '/':
        made[0] = c;
        return append(reader, made, 1);
    case 'b':
        return append(reader, "\b", 1);
    case 'f':
        return append(reader, "\f", 1);
    case 'n':
        return append(reader, "\n", 1);
    case 'r':
        return append(reader, "\r", 1);
    case 't':
        return append(reader, "\t", 1);
    case 'u':
        break;
    default:
        return ASK_REFERENCE;
    }
    int32_t point = hexadecimal(reader);
    if (point < 0 || (0xDC00 <= point && point <= 0xDFFF)) {
        return ASK_REFERENCE;
    }
    if (0xD800 <= point && point <= 0xDBFF) {
        if (reader->end - reader->at < 2 || reader->at[0] != '\\' || reader->at[1] != 'u') {
            return ASK_REFERENCE;
        }
        reader->at += 2;
        int32_t low = hexadecimal(reader);
        if (low < 0xDC00 || low > 0xDFFF) {
            return ASK_REFERENCE;
        }
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    }
    if (point < 0x80) {
        made[0] = (unsigned char)point;
        return append(reader, made, 1);
    }
    if (point < 0x800) {
        made[0] = (unsigned char)(0xC0 | (point >> 6));
        made[1] = (unsigned char)(0x80 | (point & 0x3F));
        return append(reader, made, 2);
    }
    if (point < 0x10000) {
        made[0] = (unsigned char)(0xE0 | (point >> 12));
        made[1] = (unsigned char)(0x80 | ((point >> 6) & 0x3F));
        made[2] = (unsigned char)(0x80 | (point & 0x3F));
        return append(reader, made, 3);
    }
    made[0] = (unsigned char)(0xF0 | (point >> 18));
    made[1] = (unsigned char)(0x80 | ((point >> 12) & 0x3F));
    made[2] = (unsigned char)(0x80 | ((point >> 6) & 0x3F));
    made[3] = (unsigned char)(0x80 | (point & 0x3F));
    return append(reader, made, 4);
}

/* The length of a well-formed character of several bytes; 0 where it is not one. */
static size_t
character(const unsigned char *at, const unsigned char *end)
{
    unsigned char c = at[0];
    size_t size = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (c < 0xC2 || c > 0xF4 || (size_t)(end - at) < size) {
        return 0;
    }
    for (size_t index = 1; index < size; index++) {
        if ((at[index] & 0xC0) != 0x80) {
            return 0;
        }
    }
    /* Not the shortest form, half a surrogate pair, or beyond the last one. */
    if ((c == 0xE0 && at[1] < 0xA0) || (c == 0xED && at[1] > 0x9F) || (c == 0xF0 && at[1] < 0x90)
        || (c == 0xF4 && at[1] > 0x8F)) {
        return 0;
    }
    return size;
}

/* A text from its quote on, as the term of a binary. */
static int
read_string(Reader *reader)
{
    int status = expect(reader, '"');
    size_t head = reader->size;
    if (status == GONE_ON) {
        status = append(reader, "m\0\0\0\0", 5);
    }
    while (status == GONE_ON) {
        const unsigned char *from = reader->at;
        const unsigned char *at = from;
        while (at < reader->end && *at != '"' && *at != '\\' && *at >= 0x20) {
            size_t step = *at < 0x80 ? 1 : character(at, reader->end);
            if (step == 0) {
                return ASK_REFERENCE;
            }
            at += step;
        }
        reader->at = at;
        status = append(reader, from, (size_t)(at - from));
        if (status != GONE_ON) {
            break;
        }
        if (at >= reader->end || *at < 0x20) {
            return ASK_REFERENCE;
        }
        reader->at++;
        if (*at == '"') {
            size_t size = reader->size - head - 5;
            if (size > UINT32_MAX) {
                return ASK_REFERENCE;
            }
            put_size(reader->out + head + 1, (uint32_t)size);
            return GONE_ON;
        }
        status = read_escape(reader);
    }
    return status;
}

static int
append_integer(Reader *reader, int64_t value)
{
    unsigned char term[11];
    if (0 <= value && value < 256) {
        term[0] = 'a';
        term[1] = (unsigned char)value;
        return append(reader, term, 2);
    }
    if (INT32_MIN <= value && value <= INT32_MAX) {
        term[0] = 'b';
        put_size(term + 1, (uint32_t)(int32_t)value);
        return append(reader, term, 5);
    }
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    size_t size = 0;
    for (; left != 0; left >>= 8) {
        term[3 + size++] = (unsigned char)left;
    }
    term[0] = 'n';
    term[1] = (unsigned char)size;
    term[2] = value < 0;
    return append(reader, term, 3 + size);
}

static int
append_float(Reader *reader, const char *text)
{
    double value = PyOS_string_to_double(text, NULL, NULL);
    if (value == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return ASK_REFERENCE;
    }
    /* Infinity, what was rounded to zero, and what some versions of the server round otherwise. */
    if (value == 0.0 ? text[strspn(text, "-0.")] != '\0' : -DBL_MIN <= value && value <= DBL_MIN) {
        return ASK_REFERENCE;
    }
    if (value > DBL_MAX || value < -DBL_MAX) {
        return ASK_REFERENCE;
    }
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    unsigned char term[9] = {'F'};
    put_size(term + 1, (uint32_t)(bits >> 32));
    put_size(term + 5, (uint32_t)bits);
    return append(reader, term, sizeof term);
}

static size_t
digits(const unsigned char *at, const unsigned char *end)
{
    const unsigned char *from = at;
    while (at < end && '0' <= *at && *at <= '9') {
        at++;
    }
    return (size_t)(at - from);
}

/* A number; `is_byte` becomes true for an integer from 0 to 255. */
static int
read_number(Reader *reader, int *is_byte)
{
    const unsigned char *from = reader->at;
    const unsigned char *end = reader->end;
    int negative = from < end && *from == '-';
    const unsigned char *at = from + negative;
    size_t whole = digits(at, end);
    if (whole == 0 || (whole > 1 && *at == '0')) {
        return ASK_REFERENCE;
    }
    at += whole;
    int is_float = 0;
    if (at < end && *at == '.') {
        size_t part = digits(at + 1, end);
        if (part == 0) {
            return ASK_REFERENCE;
        }
        at += 1 + part;
        is_float = 1;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '+' || *at == '-');
        size_t part = digits(at, end);
        if (part == 0) {
            return ASK_REFERENCE;
        }
        at += part;
        is_float = 1;
    }
    size_t size = (size_t)(at - from);
    reader->at = at;
    if (is_float) {
        char text[MAX_NUMBER + 1];
        if (size > MAX_NUMBER) {
            return ASK_REFERENCE;
        }
        memcpy(text, from, size);
        text[size] = '\0';
        return append_float(reader, text);
    }
    if (whole > MAX_INTEGER_DIGITS || (negative && from[1] == '0')) {
        return ASK_REFERENCE;
    }
    int64_t value = 0;
    for (size_t index = (size_t)negative; index < size; index++) {
        value = value * 10 + (from[index] - '0');
    }
    *is_byte = !negative && value < 256;
    return append_integer(reader, negative ? -value : value);
}

static int
read_word(Reader *reader, const char *word, const char *term, size_t term_size)
{
    size_t size = strlen(word);
    if ((size_t)(reader->end - reader->at) < size || memcmp(reader->at, word, size) != 0) {
        return ASK_REFERENCE;
    }
    reader->at += size;
    return append(reader, term, term_size);
}

/* Begin an object or a list. */
static int
enter(Reader *reader, int is_list)
{
    reader->at++;
    int status = grow((void **)&reader->frames, &reader->frames_room, reader->depth, 1, sizeof(Frame));
    if (status == GONE_ON && !is_list) {
        status = append(reader, "h\1", 2);
    }
    if (status == GONE_ON) {
        reader->frames[reader->depth++] = (Frame){reader->size, 0, is_list, is_list, reader->keys_size};
        status = append(reader, "l\0\0\0\0", 5);
    }
    return status;
}

/* End the object or list on top: its count is known, and whether it is all bytes. */
static int
leave(Reader *reader)
{
    reader->at++;
    Frame *frame = &reader->frames[--reader->depth];
    unsigned char *head = reader->out + frame->head;
    reader->keys_size = frame->first_key;
    if (frame->count == 0) {
        head[0] = 'j';
        reader->size = frame->head + 1;
        return GONE_ON;
    }
    if (frame->only_bytes && frame->count <= MAX_BYTE_LIST) {
        /* Each member stands there as a tag and its byte. */
        const unsigned char *member = head + 6;
        head[0] = 'k';
        head[1] = (unsigned char)(frame->count >> 8);
        head[2] = (unsigned char)frame->count;
        for (uint32_t index = 0; index < frame->count; index++) {
            head[3 + index] = member[2 * (size_t)index];
        }
        reader->size = frame->head + 3 + frame->count;
        return GONE_ON;
    }
    put_size(head + 1, frame->count);
    return append(reader, "j", 1);
}

/* Remember a key of the object on top; a repeated one is left to the reference. */
static int
note_key(Reader *reader, size_t at)
{
    const Frame *frame = &reader->frames[reader->depth - 1];
    const unsigned char *bytes = reader->out + at;
    uint32_t size = (uint32_t)(reader->size - at);
    uint32_t hash = 2166136261u;
    for (uint32_t index = 0; index < size; index++) {
        hash = (hash ^ bytes[index]) * 16777619u;
    }
    if (reader->keys_size - frame->first_key >= MAX_KEYS) {
        return ASK_REFERENCE;
    }
    for (size_t index = frame->first_key; index < reader->keys_size; index++) {
        const Key *other = &reader->keys[index];
        if (other->hash == hash && other->size == size && memcmp(reader->out + other->at, bytes, size) == 0) {
            return ASK_REFERENCE;
        }
    }
    int status = grow((void **)&reader->keys, &reader->keys_room, reader->keys_size, 1, sizeof(Key));
    if (status == GONE_ON) {
        reader->keys[reader->keys_size++] = (Key){at, size, hash};
    }
    return status;
}

/* `_id`, which does not enter the terms: it must be a legal one, and come once. */
static int
take_id(Reader *reader, size_t from)
{
    if (reader->id != NULL) {
        return ASK_REFERENCE;
    }
    size_t at = reader->size + 5;
    int status = read_string(reader);
    if (status != GONE_ON) {
        return status;
    }
    const char *id = (const char *)reader->out + at;
    size_t size = reader->size - at;
    if (size == 0 || (id[0] == '_' && (size < 9 || memcmp(id, "_design/", 8) != 0))) {
        return ASK_REFERENCE;
    }
    reader->size = from;
    reader->id = PyUnicode_DecodeUTF8(id, (Py_ssize_t)size, NULL);
    if (reader->id == NULL) {
        PyErr_Clear();
        return NO_MEMORY;
    }
    return GONE_ON;
}

/* A key, its colon, and that a value comes; `took_value` becomes true where the value was passed over too. */
static int
read_key(Reader *reader, int *took_value)
{
    size_t from = reader->size;
    int status = append(reader, "h\2", 2);
    size_t at = reader->size + 5;
    if (status == GONE_ON) {
        status = read_string(reader);
    }
    if (status != GONE_ON) {
        return status;
    }
    skip_space(reader);
    status = expect(reader, ':');
    if (status != GONE_ON) {
        return status;
    }
    skip_space(reader);
    if (reader->depth == 1 && reader->size > at && reader->out[at] == '_') {
        if (reader->size - at != 3 || memcmp(reader->out + at, "_id", 3) != 0) {
            return ASK_REFERENCE;
        }
        *took_value = 1;
        return take_id(reader, from);
    }
    reader->frames[reader->depth - 1].count++;
    return note_key(reader, at);
}

/* A value; of an object or a list only the beginning. */
static int
read_value(Reader *reader, int *is_byte)
{
    if (reader->at >= reader->end) {
        return ASK_REFERENCE;
    }
    switch (*reader->at) {
    case '"':
        return read_string(reader);
    case '{':
        return enter(reader, 0);
    case '[':
        return enter(reader, 1);
    case 'n':
        return read_word(reader, "null", "d\0\4null", 7);
    case 't':
        return read_word(reader, "true", "d\0\4true", 7);
    case 'f':
        return read_word(reader, "false", "d\0\5" "false", 8);
    default:
        return read_number(reader, is_byte);
    }
}

/* From behind a value: to the next one of what is open, or out of it, until a value has to be read. */
static int
read_document(Reader *reader)
{
    int fresh = 1; /* what is on top has no member yet, and no comma */
    skip_space(reader);
    if (reader->at >= reader->end || *reader->at != '{') {
        return ASK_REFERENCE;
    }
    int status = enter(reader, 0);
    while (status == GONE_ON && reader->depth > 0) {
        skip_space(reader);
        if (reader->at >= reader->end) {
            return ASK_REFERENCE;
        }
        size_t depth = reader->depth;
        int is_list = reader->frames[depth - 1].is_list;
        if (*reader->at == (is_list ? ']' : '}')) {
            status = leave(reader);
            fresh = 0;
            continue;
        }
        if (!fresh) {
            status = expect(reader, ',');
            skip_space(reader);
        }
        fresh = 0;
        int took_value = 0;
        int is_byte = 0;
        if (status == GONE_ON && !is_list) {
            status = read_key(reader, &took_value);
        }
        if (status != GONE_ON || took_value) {
            continue;
        }
        status = read_value(reader, &is_byte);
        if (is_list) {
            Frame *frame = &reader->frames[depth - 1];
            if (frame->count == UINT32_MAX) {
                return ASK_REFERENCE;
            }
            frame->count++;
            frame->only_bytes = frame->only_bytes && is_byte;
        }
        fresh = reader->depth > depth;
    }
    if (status == GONE_ON) {
        skip_space(reader);
        status = reader->at == reader->end ? GONE_ON : ASK_REFERENCE;
    }
    return status;
}

static PyObject *
read_text(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    const char *text;
    const char *head;
    const char *tail;
    Py_ssize_t text_size;
    Py_ssize_t head_size;
    Py_ssize_t tail_size;
    if (!PyArg_ParseTuple(arguments, "y#y#y#", &text, &text_size, &head, &head_size, &tail, &tail_size)) {
        return NULL;
    }
    Reader reader = {.at = (const unsigned char *)text, .end = (const unsigned char *)text + text_size};
    PyObject *made = NULL;
    /* Most terms are a little longer than their text. */
    int status = reserve(&reader, (size_t)head_size + (size_t)tail_size + (size_t)text_size / 4 * 5 + 64);
    if (status == GONE_ON) {
        status = append(&reader, head, (size_t)head_size);
    }
    if (status == GONE_ON) {
        status = read_document(&reader);
    }
    if (status == GONE_ON) {
        status = append(&reader, tail, (size_t)tail_size);
    }
    if (status == GONE_ON) {
        PyObject *bytes = PyBytes_FromStringAndSize((const char *)reader.out, (Py_ssize_t)reader.size);
        if (bytes != NULL) {
            made = PyTuple_Pack(2, reader.id != NULL ? reader.id : Py_None, bytes);
            Py_DECREF(bytes);
        }
    } else if (status == ASK_REFERENCE) {
        made = Py_NewRef(Py_None);
    } else {
        PyErr_NoMemory();
    }
    Py_XDECREF(reader.id);
    PyMem_Free(reader.out);
    PyMem_Free(reader.frames);
    PyMem_Free(reader.keys);
    return made;
}

static PyMethodDef methods[] = {
    {"read", read_text, METH_VARARGS,
     "The _id of a JSON text, or None, and its external term format between some bytes that go before and after; "
     "None where the reference decides."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_terms", "Erlang's external terms of a JSON text.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit__terms(void)
{
    return PyModule_Create(&module);
}
