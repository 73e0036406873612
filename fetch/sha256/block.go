package sha256

import "math/bits"

// constants are the first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2).
var constants = [64]uint32{
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

// blocks hashes the whole blocks of p into state (FIPS 180-4, 6.2.2). It is shaped for a compiler with sixteen
// registers, and for emulated processors, where every access to memory and every branch is dear: the schedule slides
// over what it just computed, and eight rounds rename the working variables instead of moving them.
func blocks(state *[8]uint32, p []byte) {
	var w [64]uint32
	a, b, c, d, e, f, g, h := state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7]
	for len(p) >= blockSize {
		for i := range 16 {
			q := (*[4]byte)(p[4*i:])
			w[i] = uint32(q[0])<<24 | uint32(q[1])<<16 | uint32(q[2])<<8 | uint32(q[3])
		}
		for i, s, t, u := 0, w[14], w[15], w[0]; i < 48; i += 2 {
			x := (*[18]uint32)(w[i:])
			v := x[1]
			s = u + (bits.RotateLeft32(v, -7) ^ bits.RotateLeft32(v, -18) ^ v>>3) + x[9] + (bits.RotateLeft32(s, -17) ^ bits.RotateLeft32(s, -19) ^ s>>10)
			x[16] = s
			u = x[2]
			t = v + (bits.RotateLeft32(u, -7) ^ bits.RotateLeft32(u, -18) ^ u>>3) + x[10] + (bits.RotateLeft32(t, -17) ^ bits.RotateLeft32(t, -19) ^ t>>10)
			x[17] = t
		}
		for i := 0; i < 64; i += 8 {
			x, k := (*[8]uint32)(w[i:]), (*[8]uint32)(constants[i:])
			h += x[0] + k[0] + (bits.RotateLeft32(e, -6) ^ bits.RotateLeft32(e, -11) ^ bits.RotateLeft32(e, -25)) + (g ^ e&(f^g))
			d += h
			h += (bits.RotateLeft32(a, -2) ^ bits.RotateLeft32(a, -13) ^ bits.RotateLeft32(a, -22)) + (a&b | c&(a|b))
			g += x[1] + k[1] + (bits.RotateLeft32(d, -6) ^ bits.RotateLeft32(d, -11) ^ bits.RotateLeft32(d, -25)) + (f ^ d&(e^f))
			c += g
			g += (bits.RotateLeft32(h, -2) ^ bits.RotateLeft32(h, -13) ^ bits.RotateLeft32(h, -22)) + (h&a | b&(h|a))
			f += x[2] + k[2] + (bits.RotateLeft32(c, -6) ^ bits.RotateLeft32(c, -11) ^ bits.RotateLeft32(c, -25)) + (e ^ c&(d^e))
			b += f
			f += (bits.RotateLeft32(g, -2) ^ bits.RotateLeft32(g, -13) ^ bits.RotateLeft32(g, -22)) + (g&h | a&(g|h))
			e += x[3] + k[3] + (bits.RotateLeft32(b, -6) ^ bits.RotateLeft32(b, -11) ^ bits.RotateLeft32(b, -25)) + (d ^ b&(c^d))
			a += e
			e += (bits.RotateLeft32(f, -2) ^ bits.RotateLeft32(f, -13) ^ bits.RotateLeft32(f, -22)) + (f&g | h&(f|g))
			d += x[4] + k[4] + (bits.RotateLeft32(a, -6) ^ bits.RotateLeft32(a, -11) ^ bits.RotateLeft32(a, -25)) + (c ^ a&(b^c))
			h += d
			d += (bits.RotateLeft32(e, -2) ^ bits.RotateLeft32(e, -13) ^ bits.RotateLeft32(e, -22)) + (e&f | g&(e|f))
			c += x[5] + k[5] + (bits.RotateLeft32(h, -6) ^ bits.RotateLeft32(h, -11) ^ bits.RotateLeft32(h, -25)) + (b ^ h&(a^b))
			g += c
			c += (bits.RotateLeft32(d, -2) ^ bits.RotateLeft32(d, -13) ^ bits.RotateLeft32(d, -22)) + (d&e | f&(d|e))
			b += x[6] + k[6] + (bits.RotateLeft32(g, -6) ^ bits.RotateLeft32(g, -11) ^ bits.RotateLeft32(g, -25)) + (a ^ g&(h^a))
			f += b
			b += (bits.RotateLeft32(c, -2) ^ bits.RotateLeft32(c, -13) ^ bits.RotateLeft32(c, -22)) + (c&d | e&(c|d))
			a += x[7] + k[7] + (bits.RotateLeft32(f, -6) ^ bits.RotateLeft32(f, -11) ^ bits.RotateLeft32(f, -25)) + (h ^ f&(g^h))
			e += a
			a += (bits.RotateLeft32(b, -2) ^ bits.RotateLeft32(b, -13) ^ bits.RotateLeft32(b, -22)) + (b&c | d&(b|c))
		}
		a, b, c, d, e, f, g, h = a+state[0], b+state[1], c+state[2], d+state[3], e+state[4], f+state[5], g+state[6], h+state[7]
		*state = [8]uint32{a, b, c, d, e, f, g, h}
		p = p[blockSize:]
	}
}
