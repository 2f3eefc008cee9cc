/* dhry: a mix of everyday C, in the spirit of Dhrystone
 *
 * Shows:  a workload like ordinary programs: short functions, records copied and linked, strings copied
 *         and compared, a switch, small arrays, now and then a multiplication or a division.
 * Checks: each total has a known value for a given number of rounds.
 *
 * Written from scratch: its "rounds" are not Dhrystones.
 */
#include "lib.h"

#define SCALE 30                          /* hundreds of rounds; about 45,000 instructions each */

enum colour { RED, GREEN, BLUE, COLOURS };

struct item {
    struct item *next;
    enum colour colour;
    int weight;
    char name[24];
};

static struct item pool[4];
static int stock[COLOURS][10];
static u64 matches, weight_total, quotients;

__attribute__((noinline)) static void copy_text(char *to, const char *from)
{
    while ((*to++ = *from++) != 0) {
    }
}

__attribute__((noinline)) static enum colour after(enum colour colour)
{
    switch (colour) {
    case RED:
        return GREEN;
    case GREEN:
        return BLUE;
    default:
        return RED;
    }
}

__attribute__((noinline)) static void store(int row, int column, int *count)
{
    stock[row][column] += 1;
    stock[row][(column + 1) % 10] += stock[row][column] > 0 ? 2 : 0;
    *count += 3;
}

__attribute__((noinline)) static struct item *renew(struct item *item, int round)
{
    struct item *next = item->next;
    *next = *item;                        /* a whole record, its link included */
    next->next = &pool[(next - pool + 1) % 4];
    next->colour = after(item->colour);
    next->weight = round % 7;
    return next;
}

__attribute__((noinline)) static u64 share(u64 total, u64 parts)
{
    u64 each = total / parts;
    return each * parts + total % parts;  /* total again */
}

int main(void)
{
    const int rounds = SCALE * 100 * (int)repeat;
    int stored = 0;
    int total = 0;
    u64 colours[COLOURS] = {0, 0, 0};
    struct item *item = &pool[0];
    item->next = &pool[1];
    copy_text(item->name, "a plain everyday text");
    for (int round = 0; round < rounds; round++) {
        char text[24];
        item = renew(item, round);
        copy_text(text, item->name);
        text[20] = (char)(round % 5 == 0 ? 't' : 'T');
        if (strcmp(text, item->name) == 0) {
            matches++;
        }
        colours[item->colour]++;
        weight_total += (u64)item->weight;
        store(item->colour, round % 10, &stored);
        quotients += share((u64)round * 3, (u64)(round % 9) + 1);
    }
    for (int row = 0; row < COLOURS; row++) {
        for (int column = 0; column < 10; column++) {
            total += stock[row][column];
        }
    }
    u64 n = (u64)rounds;
    u64 weights = n / 7 * 21 + (n % 7) * (n % 7 - 1) / 2;
    int good = matches == (n + 4) / 5
               && colours[RED] == n / 3
               && colours[GREEN] == (n + 2) / 3
               && weight_total == weights
               && quotients == 3 * n * (n - 1) / 2
               && total == stored;
    print_dec(n);
    print(" rounds: ");
    print_dec(matches);
    print(" equal texts, ");
    print_dec((u64)total);
    print(" stored, weight ");
    print_dec(weight_total);
    print(good ? ", checked\n" : ", WRONG\n");
    return good ? 0 : 2;
}
