#include "textflag.h"

// The last step before the user's program; see stub.go. The code is copied
// into a memfd and runs there as a program of its own, so it may use neither a
// symbol nor the Go stack. BX is the address of the stub's data.
TEXT camadaStub<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ $0x10000080, BX

	// fcntl(status, F_SETFD, FD_CLOEXEC) fails when a script has the stub as
	// its interpreter ("#!/proc/self/exe"): it would execute itself for ever.
	MOVL $72, AX
	MOVQ 0(BX), DI
	MOVL $2, SI
	MOVL $1, DX
	SYSCALL
	TESTQ AX, AX
	JNE   exit

	// if filter.len != 0: seccomp(SECCOMP_SET_MODE_FILTER, flags, &filter)
	CMPQ 24(BX), $0
	JEQ  exec
	MOVL $317, AX
	MOVL $1, DI
	MOVQ 40(BX), SI
	LEAQ 24(BX), DX
	SYSCALL
	MOVQ  16(BX), R12
	TESTQ AX, AX
	JNE   fail

exec:
	// execve(argv[0], argv+1, envp)
	MOVQ 0(SP), CX
	MOVQ 8(SP), DI
	LEAQ 16(SP), SI
	LEAQ 16(SP)(CX*8), DX
	MOVL $59, AX
	SYSCALL
	MOVQ 8(BX), R12

fail:
	// write(status, {recordError, position, errno}, 24)
	NEGQ AX
	MOVQ $1, -24(SP)
	MOVQ R12, -16(SP)
	MOVQ AX, -8(SP)
	MOVL $1, AX
	MOVQ 0(BX), DI
	LEAQ -24(SP), SI
	MOVL $24, DX
	SYSCALL

exit:
	// exit_group(127)
	MOVL $231, AX
	MOVL $127, DI
	SYSCALL
	BYTE $0x63; BYTE $0x61; BYTE $0x6d; BYTE $0x61; BYTE $0x64; BYTE $0x61; BYTE $0x2e; BYTE $0x2e

// func stubCode() unsafe.Pointer
TEXT ·stubCode(SB), NOSPLIT, $0-8
	LEAQ camadaStub<>(SB), AX
	MOVQ AX, ret+0(FP)
	RET
