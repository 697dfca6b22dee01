#include "textflag.h"

// func forkOnto(nr, a1, a2, fn uintptr, c *childState) (r uintptr)
TEXT ·forkOnto(SB), NOSPLIT|NOFRAME, $0-48
	MOVD nr+0(FP), R8
	MOVD a1+8(FP), R0
	MOVD a2+16(FP), R1
	MOVD fn+24(FP), R19
	MOVD c+32(FP), R20
	MOVD $0, R2
	MOVD $0, R3
	MOVD $0, R4
	MOVD $0, R5
	SVC
	CBZ  R0, child
	MOVD R0, r+40(FP)
	RET

child:
	// As the compiler's functions want it: the argument in R0, no frame, no goroutine.
	MOVD $0, R29
	MOVD $0, g
	MOVD R20, R0
	CALL (R19)
	UNDEF
