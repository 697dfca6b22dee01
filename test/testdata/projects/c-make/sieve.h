#include <stdbool.h>

void sieve(bool *composite, int n);
