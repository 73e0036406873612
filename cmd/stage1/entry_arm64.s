#include "textflag.h"

// entry is where the kernel starts this program: see entry_amd64.s.
TEXT ·entry(SB), NOSPLIT|NOFRAME, $0-0
	MOVD 0(RSP), R2
	ADD  $16, RSP, R3
	ADD  R2<<3, R3, R3 // envp

next:
	MOVD 0(R3), R4
	CBZ  R4, done
	ADD  $8, R3
	MOVBU 0(R4), R5
	CMP  $'G', R5
	BNE  next
	MOVBU 1(R4), R5
	CMP  $'O', R5
	BNE  next
	MOVB ZR, 0(R4)
	B    next

done:
	B _rt0_arm64_linux(SB)
