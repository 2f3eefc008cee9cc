/* fib: Fibonacci numbers the slow way
 *
 * Shows:  a workload of calls and returns and little else. Each return is a jump through a register: its
 *         target is looked up, not linked.
 * Checks: against a loop.
 */
#include "lib.h"

#define SCALE 24                          /* 1.9 million instructions; one more takes 1.6 times as many */

__attribute__((noinline)) static u64 fib(u64 n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

int main(void)
{
    const u32 rounds = repeat;
    u64 slow = 0;
    for (u32 round = 0; round < rounds; round++) {
        slow = fib(SCALE + (slow == 1));  /* it is not 1; but the compiler must call it each time */
    }
    u64 fast = 0;
    u64 next = 1;
    for (int i = 0; i < SCALE; i++) {
        u64 sum = fast + next;
        fast = next;
        next = sum;
    }
    int good = slow == fast;
    print("fib(");
    print_dec(SCALE);
    print(") = ");
    print_dec(slow);
    print(good ? ", checked\n" : ", WRONG\n");
    return good ? 0 : 2;
}
