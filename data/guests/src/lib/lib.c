#include "lib.h"

volatile u32 repeat = 1;

static volatile u8 *const uart = (volatile u8 *)0x10000000;
static volatile u32 *const finisher = (volatile u32 *)0x100000;

static void put(char c)
{
    while ((uart[5] & 0x20) == 0) {       /* until the transmitter is empty */
    }
    uart[0] = (u8)c;
}

void print(const char *text)
{
    while (*text != 0) {
        put(*text++);
    }
}

static void print_number(u64 number, u64 base)
{
    if (number >= base) {
        print_number(number / base, base);
    }
    put("0123456789abcdef"[number % base]);
}

void print_dec(u64 number)
{
    print_number(number, 10);
}

void print_hex(u64 number)
{
    print("0x");
    print_number(number, 16);
}

u32 next_random(u32 *state)
{
    u32 x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

_Noreturn void finish(int code)
{
    *finisher = code == 0 ? 0x5555 : 0x3333 | (u32)code << 16;
    for (;;) {
    }
}

_Noreturn void unexpected_trap(u64 cause, u64 epc, u64 tval)
{
    print("unexpected trap: cause ");
    print_hex(cause);
    print(" at ");
    print_hex(epc);
    print(" tval ");
    print_hex(tval);
    print("\n");
    finish(1);
}

void *memcpy(void *to, const void *from, u64 size)
{
    u8 *t = to;
    const u8 *f = from;
    while (size-- != 0) {
        *t++ = *f++;
    }
    return to;
}

void *memset(void *to, int byte, u64 size)
{
    u8 *t = to;
    while (size-- != 0) {
        *t++ = (u8)byte;
    }
    return to;
}

int strcmp(const char *left, const char *right)
{
    while (*left != 0 && *left == *right) {
        left++;
        right++;
    }
    return (u8)*left - (u8)*right;
}
