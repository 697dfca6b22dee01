#include "textflag.h"

// The last step before the user's program; see stub.go and stub_amd64.s.
// R19 is the address of the stub's data.
TEXT camadaStub<>(SB), NOSPLIT|NOFRAME, $0
	MOVD $0x10000080, R19

	// fcntl(status, F_SETFD, FD_CLOEXEC)
	MOVD 0(R19), R0
	MOVD $2, R1
	MOVD $1, R2
	MOVD $25, R8
	SVC
	CBNZ R0, exit

	// if filter.len != 0: seccomp(SECCOMP_SET_MODE_FILTER, flags, &filter)
	MOVD 24(R19), R3
	CBZ  R3, exec
	MOVD $1, R0
	MOVD 40(R19), R1
	ADD  $24, R19, R2
	MOVD $277, R8
	SVC
	MOVD 16(R19), R20
	CBNZ R0, fail

exec:
	// execve(argv[0], argv+1, envp)
	MOVD 0(RSP), R3
	MOVD 8(RSP), R0
	ADD  $16, RSP, R1
	ADD  R3<<3, R1, R2
	MOVD $221, R8
	SVC
	MOVD 8(R19), R20

fail:
	// write(status, {recordError, position, errno}, 24)
	NEG  R0, R0
	SUB  $32, RSP, R1
	MOVD $1, R4
	MOVD R4, 0(R1)
	MOVD R20, 8(R1)
	MOVD R0, 16(R1)
	MOVD 0(R19), R0
	MOVD $24, R2
	MOVD $64, R8
	SVC

exit:
	// exit_group(127)
	MOVD $127, R0
	MOVD $94, R8
	SVC
	WORD $0x616d6163; WORD $0x2e2e6164

// func stubCode() unsafe.Pointer
TEXT ·stubCode(SB), NOSPLIT, $0-8
	MOVD $camadaStub<>(SB), R0
	MOVD R0, ret+0(FP)
	RET
