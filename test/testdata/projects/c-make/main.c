#include <stdio.h>
#include <stdlib.h>
#include "sieve.h"

int main(int argc, char **argv) {
	int n = argc > 1 ? atoi(argv[1]) : 30;
	bool *composite = calloc(n + 1, sizeof *composite);
	const char *between = "";
	sieve(composite, n);
	for (int i = 2; i <= n; i++)
		if (!composite[i]) {
			printf("%s%d", between, i);
			between = " ";
		}
	puts(n > 10 ? " end" : "");
	return 0;
}
