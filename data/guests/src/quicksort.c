/* quicksort: sorts random numbers
 *
 * Shows:  a workload of branches that nobody can predict, and of recursion: jumps through registers
 *         (returns) that find their blocks by lookup, without a link.
 * Checks: the order, and that the sum is what it was.
 */
#include "lib.h"

#define SCALE 10                          /* thousands of numbers; about 140,000 instructions each */

static u32 numbers[SCALE * 1000];

__attribute__((noinline)) static void sort(u32 *first, u32 *last)
{
    while (first < last) {
        u32 pivot = first[(last - first) / 2];
        u32 *low = first;
        u32 *high = last;
        while (low <= high) {
            while (*low < pivot) {
                low++;
            }
            while (*high > pivot) {
                high--;
            }
            if (low <= high) {
                u32 keep = *low;
                *low++ = *high;
                *high-- = keep;
            }
        }
        sort(first, high);
        first = low;                      /* the upper part in the next round */
    }
}

int main(void)
{
    const u32 count = SCALE * 1000;
    u32 state = 1;
    u64 before = 0;
    u64 after = 0;
    const u32 rounds = repeat;
    for (u32 round = 0; round < rounds; round++) {
        before = 0;
        for (u32 i = 0; i < count; i++) {
            numbers[i] = next_random(&state);
            before += numbers[i];
        }
        sort(numbers, numbers + count - 1);
    }
    int good = 1;
    for (u32 i = 0; i < count; i++) {
        after += numbers[i];
        good &= i == 0 || numbers[i - 1] <= numbers[i];
    }
    good &= before == after;
    print_dec(count);
    print(" numbers sorted, the middle one is ");
    print_dec(numbers[count / 2]);
    print(good ? ", checked\n" : ", WRONG\n");
    return good ? 0 : 2;
}
