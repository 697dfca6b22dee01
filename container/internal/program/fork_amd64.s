#include "textflag.h"

// func forkOnto(nr, a1, a2, fn uintptr, c *childState) (r uintptr)
TEXT ·forkOnto(SB), NOSPLIT|NOFRAME, $0-48
	MOVQ nr+0(FP), AX
	MOVQ a1+8(FP), DI
	MOVQ a2+16(FP), SI
	MOVQ fn+24(FP), R12
	MOVQ c+32(FP), R13
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	XORL R9, R9
	SYSCALL
	TESTQ AX, AX
	JEQ   child
	MOVQ  AX, r+40(FP)
	RET

child:
	// As the compiler's functions want it: the argument in AX, zero in X15, no frame, no goroutine.
	XORPS X15, X15
	XORL  BP, BP
	XORL  R14, R14
	MOVQ  R13, AX
	CALL  R12
	INT   $3
