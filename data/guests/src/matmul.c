/* matmul: the product of two square matrices of 64-bit integers
 *
 * Shows:  a workload of multiplications in three nested loops; the inner one is a single block.
 * Checks: (A * B) * v = A * (B * v) for a vector v, modulo 2 to the 64th.
 */
#include "lib.h"

#define SCALE 56                          /* rows and columns; the time grows with the third power */

static u64 a[SCALE][SCALE], b[SCALE][SCALE], product[SCALE][SCALE];
static u64 v[SCALE], bv[SCALE];

__attribute__((noinline)) static void multiply(void)
{
    for (int i = 0; i < SCALE; i++) {
        for (int j = 0; j < SCALE; j++) {
            u64 sum = 0;
            for (int k = 0; k < SCALE; k++) {
                sum += a[i][k] * b[k][j];
            }
            product[i][j] = sum;
        }
    }
}

static u64 row_times(const u64 *row, const u64 *vector)
{
    u64 sum = 0;
    for (int k = 0; k < SCALE; k++) {
        sum += row[k] * vector[k];
    }
    return sum;
}

int main(void)
{
    u32 state = 1;
    for (int i = 0; i < SCALE; i++) {
        v[i] = next_random(&state);
        for (int j = 0; j < SCALE; j++) {
            a[i][j] = next_random(&state);
            b[i][j] = next_random(&state);
        }
    }
    const u32 rounds = repeat;
    for (u32 round = 0; round < rounds; round++) {
        multiply();
    }
    int good = 1;
    u64 trace = 0;
    for (int i = 0; i < SCALE; i++) {
        bv[i] = row_times(b[i], v);
        trace += product[i][i];
    }
    for (int i = 0; i < SCALE; i++) {
        good &= row_times(product[i], v) == row_times(a[i], bv);
    }
    print_dec(SCALE);
    print(" x ");
    print_dec(SCALE);
    print(" matrices, trace of the product ");
    print_hex(trace);
    print(good ? ", checked\n" : ", WRONG\n");
    return good ? 0 : 2;
}
