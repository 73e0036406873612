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

// blocks hashes the whole blocks of p into state (FIPS 180-4, 6.2.2). Its shape keeps all eight working variables in
// sixteen registers: they are loaded after the schedule is made and not before, eight rounds rename them instead of
// moving them, each sum is built up in place, and nested rotations and the choice b^(a^b)&(b^c) for the majority need
// one register less.
func blocks(state *[8]uint32, p []byte) {
	var w [64]uint32
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
		a, b, c, d, e, f, g, h := state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7]
		for i := 0; i < 64; i += 8 {
			x, k := (*[8]uint32)(w[i:]), (*[8]uint32)(constants[i:])

			h += x[0] + k[0]
			h += g ^ e&(f^g)
			h += bits.RotateLeft32(bits.RotateLeft32(bits.RotateLeft32(e, -14)^e, -5)^e, -6)
			d += h
			h += b ^ (a^b)&(b^c)
			h += bits.RotateLeft32(bits.RotateLeft32(bits.RotateLeft32(a, -9)^a, -11)^a, -2)

			g += x[1] + k[1]
			g += f ^ d&(e^f)
			g += bits.RotateLeft32(bits.RotateLeft32(bits.RotateLeft32(d, -14)^d, -5)^d, -6)
			c += g
			g += a ^ (h^a)&(a^b)
			g += bits.RotateLeft32(bits.RotateLeft32(bits.RotateLeft32(h, -9)^h, -11)^h, -2)

			f += x[2] + k[2]
			f += e ^ c&(d^e)
			f += bits.RotateLeft32(bits.RotateLeft32(bits.RotateLeft32(c, -14)^c, -5)^c, -6)
			b += f
			f += h ^ (g^h)&(h^a)
			f += bits.RotateLeft32(bits.RotateLeft32(bits.RotateLeft32(g, -9)^g, -11)^g, -2)

			e += x[3] + k[3]
			e += d ^ b&(c^d)
			e += bits.RotateLeft32(bits.RotateLeft32(bits.RotateLeft32(b, -14)^b, -5)^b, -6)
			a += e
			e += g ^ (f^g)&(g^h)
			e += bits.RotateLeft32(bits.RotateLeft32(bits.RotateLeft32(f, -9)^f, -11)^f, -2)

			d += x[4] + k[4]
			d += c ^ a&(b^c)
			d += bits.RotateLeft32(bits.RotateLeft32(bits.RotateLeft32(a, -14)^a, -5)^a, -6)
			h += d
			d += f ^ (e^f)&(f^g)
			d += bits.RotateLeft32(bits.RotateLeft32(bits.RotateLeft32(e, -9)^e, -11)^e, -2)

			c += x[5] + k[5]
			c += b ^ h&(a^b)
			c += bits.RotateLeft32(bits.RotateLeft32(bits.RotateLeft32(h, -14)^h, -5)^h, -6)
			g += c
			c += e ^ (d^e)&(e^f)
			c += bits.RotateLeft32(bits.RotateLeft32(bits.RotateLeft32(d, -9)^d, -11)^d, -2)

			b += x[6] + k[6]
			b += a ^ g&(h^a)
			b += bits.RotateLeft32(bits.RotateLeft32(bits.RotateLeft32(g, -14)^g, -5)^g, -6)
			f += b
			b += d ^ (c^d)&(d^e)
			b += bits.RotateLeft32(bits.RotateLeft32(bits.RotateLeft32(c, -9)^c, -11)^c, -2)

			a += x[7] + k[7]
			a += h ^ f&(g^h)
			a += bits.RotateLeft32(bits.RotateLeft32(bits.RotateLeft32(f, -14)^f, -5)^f, -6)
			e += a
			a += c ^ (b^c)&(c^d)
			a += bits.RotateLeft32(bits.RotateLeft32(bits.RotateLeft32(b, -9)^b, -11)^b, -2)
		}
		state[0] += a
		state[1] += b
		state[2] += c
		state[3] += d
		state[4] += e
		state[5] += f
		state[6] += g
		state[7] += h
		p = p[blockSize:]
	}
}
