/* crc: the CRC-32 of a buffer, a byte at a time through a table
 *
 * Shows:  a workload of loads, shifts and one hot loop: nearly all its time is spent in one block that
 *         is chained to itself.
 * Checks: the standard check value, and part of the buffer once more, bit by bit.
 */
#include "lib.h"

#define SCALE 64                          /* KiB; about 34,000 instructions each */

static u32 table[256];
static u8 buffer[SCALE * 1024];

static u32 one_byte(u32 x)
{
    for (int bit = 0; bit < 8; bit++) {
        x = (x >> 1) ^ ((x & 1) != 0 ? 0xedb88320u : 0);
    }
    return x;
}

__attribute__((noinline)) static u32 crc32(u32 crc, const u8 *data, u64 size)
{
    crc = ~crc;
    for (u64 i = 0; i < size; i++) {
        crc = (crc >> 8) ^ table[(crc ^ data[i]) & 0xff];
    }
    return ~crc;
}

__attribute__((noinline)) static u32 crc32_slow(const u8 *data, u64 size)
{
    u32 crc = ~0u;
    for (u64 i = 0; i < size; i++) {
        crc = one_byte(crc ^ data[i]);
    }
    return ~crc;
}

int main(void)
{
    u32 state = 1;
    for (u32 i = 0; i < 256; i++) {
        table[i] = one_byte(i);
    }
    for (u64 i = 0; i < sizeof buffer; i++) {
        buffer[i] = (u8)next_random(&state);
    }
    int good = crc32(0, (const u8 *)"123456789", 9) == 0xcbf43926
               && crc32(0, buffer, 1024) == crc32_slow(buffer, 1024);
    const u32 rounds = repeat;
    u32 crc = 0;
    for (u32 round = 0; round < rounds; round++) {
        crc = crc32(crc, buffer, sizeof buffer);     /* as if the buffers stood one after the other */
    }
    print("crc32 of ");
    print_dec(rounds * sizeof buffer);
    print(" bytes: ");
    print_hex(crc);
    print(good ? ", checked\n" : ", WRONG\n");
    return good ? 0 : 2;
}
