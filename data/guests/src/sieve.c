/* sieve: the prime numbers below a power of ten
 *
 * Shows:  a workload of byte stores with a stride, over more memory than one page.
 * Checks: the count against the known number of primes.
 */
#include "lib.h"

#define SCALE 5                           /* the power of ten; 5 takes about 1.9 million instructions */

static const u32 known[] = {0, 4, 25, 168, 1229, 9592, 78498};
static u8 composite[1000000];

int main(void)
{
    u32 limit = 1;
    for (int i = 0; i < SCALE; i++) {
        limit *= 10;
    }
    const u32 rounds = repeat;
    for (u32 round = 0; round < rounds; round++) {
        for (u32 i = 2; i * i < limit; i++) {
            if (!composite[i]) {
                for (u32 multiple = i * i; multiple < limit; multiple += i) {
                    composite[multiple] = 1;
                }
            }
        }
    }
    u32 count = 0;
    u32 last = 0;
    for (u32 i = 2; i < limit; i++) {
        if (!composite[i]) {
            count++;
            last = i;
        }
    }
    int good = count == known[SCALE];
    print_dec(count);
    print(" primes below ");
    print_dec(limit);
    print(", the last is ");
    print_dec(last);
    print(good ? ", checked\n" : ", WRONG\n");
    return good ? 0 : 2;
}
