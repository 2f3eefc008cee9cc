/* What the C guests use: a console, an end, and the memory functions that a compiler may call. */
#ifndef LIB_H
#define LIB_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long i64;

void print(const char *text);
void print_dec(u64 number);
void print_hex(u64 number);
u32 next_random(u32 *state);              /* xorshift32; the state must not be 0 */
_Noreturn void finish(int code);          /* ends the machine; 0 is a pass */

void *memcpy(void *to, const void *from, u64 size);
void *memset(void *to, int byte, u64 size);
int strcmp(const char *left, const char *right);

extern volatile u32 repeat;               /* how often to do the work: 1, unless a benchmark has written
                                             another number into its copy of the ELF file */

#endif
