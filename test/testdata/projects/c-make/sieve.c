#include "sieve.h"

void sieve(bool *composite, int n) {
	for (int i = 2; i * i <= n; i++)
		for (int j = i * i; !composite[i] && j <= n; j += i)
			composite[j] = true;
}
