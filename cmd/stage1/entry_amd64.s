#include "textflag.h"

// entry is where the kernel starts this program: on the stack are argc, argv,
// a zero, envp, a zero (System V ABI for AMD64, 3.4.1). It empties what begins
// with "GO" in the environment, and goes on with the runtime.
TEXT ·entry(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ 0(SP), AX
	LEAQ 16(SP)(AX*8), AX // envp

next:
	MOVQ  0(AX), BX
	TESTQ BX, BX
	JEQ   done
	ADDQ  $8, AX
	CMPB  0(BX), $'G'
	JNE   next
	CMPB  1(BX), $'O'
	JNE   next
	MOVB  $0, 0(BX)
	JMP   next

done:
	JMP _rt0_amd64_linux(SB)
