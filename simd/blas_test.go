package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas"
	gonumblas "gonum.org/v1/gonum/blas/gonum"
)

// tiledBLAS is BLAS on every kernel that has tiles, with so many workers.
func tiledBLAS(workers int) map[string]blas.Float32 {
	all := map[string]blas.Float32{}
	for _, k := range All() {
		if k.table().gemm.run != nil {
			b := BLAS(k).(*float32BLAS)
			b.workers = NewWorkers(workers)
			all[k.Name()] = b
		}
	}
	return all
}

var (
	transposes = []blas.Transpose{blas.NoTrans, blas.Trans, blas.ConjTrans}
	triangles  = []blas.Uplo{blas.Upper, blas.Lower}
	alphas     = []float32{1, -1, 0.75, 0}
	betas      = []float32{0, 1, -1, 2.5}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// blasMatrix is a random operand in a larger array with guard values, and its
// rows in float64 as seen through t.
func blasMatrix(r *rand.Rand, rows, cols int, t blas.Transpose) (*guarded, [][]float64) {
	seen := make([][]float64, rows)
	for i := range seen {
		seen[i] = make([]float64, cols)
	}
	if t != blas.NoTrans {
		rows, cols = cols, rows
	}
	g := newGuarded(r, rows, cols, max(1, cols+r.IntN(4)))
	for i := range rows {
		for j := range cols {
			v := float64(g.Data[i*g.Stride+j])
			if t == blas.NoTrans {
				seen[i][j] = v
			} else {
				seen[j][i] = v
			}
		}
	}
	return g, seen
}

func transposed(a [][]float64, cols int) [][]float64 {
	t := make([][]float64, cols)
	for j := range t {
		for _, row := range a {
			t[j] = append(t[j], row[j])
		}
	}
	return t
}

// entry is the exact value of an entry and what float32 may be off: depth
// roundings of a sum of magnitude mag, and a few of the rest.
type entry struct {
	sum, mag float64
	depth    int
}

func (e *entry) add(a, b []float64) {
	for i, v := range a {
		p := v * b[i]
		e.sum += p
		e.mag += math.Abs(p)
	}
	e.depth += len(a)
}

// check compares got with alpha·e + beta·before.
func (e entry) check(t *testing.T, got, alpha, beta, before float32, what string, args ...any) {
	t.Helper()
	want, bound := float64(alpha)*e.sum, float64(e.depth+2)*math.Abs(float64(alpha))*e.mag
	if beta != 0 {
		want += float64(beta) * float64(before)
		bound += 2 * math.Abs(float64(beta)*float64(before))
	}
	bound = 2 * eps * (bound + math.Abs(want))
	if !(math.Abs(float64(got)-want) <= bound) {
		t.Fatalf("%s: got %v, want %v ± %.3g", fmt.Sprintf(what, args...), got, want, bound)
	}
}

// blasSizes crosses the boundaries of small and large products, of tiles and
// of the blocks that operands are cut into.
func blasSizes() [][3]int {
	sizes := [][3]int{{0, 3, 4}, {3, 0, 4}, {3, 4, 0}, {1, 1, 1}, {7, 8, 9}, {8, 8, 8}, {8, 8, 9},
		{1, 40, 50}, {40, 1, 50}, {40, 50, 1}, {1, 700, 60}, {700, 1, 60}, {2, 3, 1537}, {5, 2049, 7},
		{17, 33, 767}, {15, 17, 769}, {20, 31, 1537}, {3, 1100, 1540}, {1100, 3, 1540}, {200, 129, 100}, {70, 1030, 40}}
	for _, n := range []int{6, 7, 8, 9, 13, 14, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65} {
		sizes = append(sizes, [3]int{n, 20, 15}, [3]int{20, n, 15}, [3]int{20, 15, n})
	}
	return sizes
}

func TestSgemm(t *testing.T) {
	for name, b := range tiledBLAS(2) {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			for _, s := range blasSizes() {
				m, n, k := s[0], s[1], s[2]
				for _, tA := range transposes {
					for _, tB := range transposes {
						alpha, beta := pick(r, alphas), pick(r, betas)
						x, rows := blasMatrix(r, m, k, tA)
						y, yRows := blasMatrix(r, k, n, tB)
						c, old := blasMatrix(r, m, n, blas.NoTrans)
						cols := transposed(yRows, n)
						b.Sgemm(tA, tB, m, n, k, alpha, x.Data, x.Stride, y.Data, y.Stride, beta, c.Data, c.Stride)
						x.unchanged(t, "a")
						y.unchanged(t, "b")
						c.checkGuards(t)
						for i := range m {
							for j := range n {
								var e entry
								e.add(rows[i], cols[j])
								e.check(t, c.Data[i*c.Stride+j], alpha, beta, float32(old[i][j]),
									"%c%c %d×%d×%d, alpha %v, beta %v, entry %d, %d", tA, tB, m, k, n, alpha, beta, i, j)
							}
						}
					}
				}
			}
		})
	}
}

func TestSymmetricBLAS(t *testing.T) {
	for name, b := range tiledBLAS(2) {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			for _, s := range [][2]int{{0, 3}, {3, 0}, {1, 1}, {3, 4}, {15, 16}, {16, 33}, {29, 31}, {127, 40}, {128, 9}, {129, 770}, {300, 20}} {
				n, k := s[0], s[1]
				for _, ul := range triangles {
					for _, tA := range transposes {
						alpha, beta := pick(r, alphas), pick(r, betas)
						x, xRows := blasMatrix(r, n, k, tA)
						y, yRows := blasMatrix(r, n, k, tA)
						for _, two := range []bool{false, true} {
							c, old := blasMatrix(r, n, n, blas.NoTrans)
							if two {
								b.Ssyr2k(ul, tA, n, k, alpha, x.Data, x.Stride, y.Data, y.Stride, beta, c.Data, c.Stride)
							} else {
								b.Ssyrk(ul, tA, n, k, alpha, x.Data, x.Stride, beta, c.Data, c.Stride)
							}
							x.unchanged(t, "a")
							y.unchanged(t, "b")
							c.checkGuards(t)
							for i := range n {
								for j := range n {
									got := c.Data[i*c.Stride+j]
									if i != j && (j > i) == (ul == blas.Lower) {
										if got != float32(old[i][j]) {
											t.Fatalf("%c: entry %d, %d of the other triangle was written to", ul, i, j)
										}
										continue
									}
									var e entry
									if two {
										e.add(xRows[i], yRows[j])
										e.add(yRows[i], xRows[j])
									} else {
										e.add(xRows[i], xRows[j])
									}
									e.check(t, got, alpha, beta, float32(old[i][j]), "%c%c %d×%d, entry %d, %d", ul, tA, n, k, i, j)
								}
							}
						}
					}
				}
			}
		})
	}
}

func TestSsymm(t *testing.T) {
	for name, b := range tiledBLAS(2) {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			for _, s := range [][2]int{{0, 3}, {3, 0}, {1, 1}, {3, 4}, {15, 16}, {40, 13}, {13, 40}, {600, 10}, {10, 600}, {130, 129}} {
				m, n := s[0], s[1]
				for _, ul := range triangles {
					for _, side := range []blas.Side{blas.Left, blas.Right} {
						alpha, beta := pick(r, alphas), pick(r, betas)
						order := n
						if side == blas.Left {
							order = m
						}
						x, full := blasMatrix(r, order, order, blas.NoTrans)
						for i := range order {
							for j := range i {
								stored, other := [2]int{i, j}, [2]int{j, i}
								if ul == blas.Upper {
									stored, other = other, stored
								}
								x.Data[other[0]*x.Stride+other[1]] = nan // not to be read
								full[other[0]][other[1]] = full[stored[0]][stored[1]]
							}
						}
						y, yRows := blasMatrix(r, m, n, blas.NoTrans)
						c, old := blasMatrix(r, m, n, blas.NoTrans)
						rows, cols := yRows, full
						if side == blas.Left {
							rows, cols = full, transposed(yRows, n)
						}
						b.Ssymm(side, ul, m, n, alpha, x.Data, x.Stride, y.Data, y.Stride, beta, c.Data, c.Stride)
						y.unchanged(t, "b")
						c.checkGuards(t)
						for i := range m {
							for j := range n {
								var e entry
								e.add(rows[i], cols[j])
								e.check(t, c.Data[i*c.Stride+j], alpha, beta, float32(old[i][j]), "%c%c %d×%d, entry %d, %d", side, ul, m, n, i, j)
							}
						}
					}
				}
			}
		})
	}
}

// TestTriangularBLAS checks op(A)·X = alpha·B and B = alpha·op(A)·X, on the
// left and the right, with A near the identity.
func TestTriangularBLAS(t *testing.T) {
	for name, b := range tiledBLAS(2) {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			for _, s := range [][2]int{{0, 3}, {3, 0}, {1, 1}, {5, 4}, {32, 5}, {33, 40}, {64, 9}, {70, 65}, {129, 33}, {33, 129}, {7, 200}, {200, 7}} {
				for _, ul := range triangles {
					for _, tA := range transposes {
						for _, d := range []blas.Diag{blas.Unit, blas.NonUnit} {
							for _, side := range []blas.Side{blas.Left, blas.Right} {
								testTriangular(t, b, r, s[0], s[1], side, ul, tA, d)
							}
						}
					}
				}
			}
		})
	}
}

func testTriangular(t *testing.T, b blas.Float32, r *rand.Rand, m, n int, side blas.Side, ul blas.Uplo, tA blas.Transpose, d blas.Diag) {
	order := n
	if side == blas.Left {
		order = m
	}
	a, _ := blasMatrix(r, order, order, blas.NoTrans)
	exact := make([][]float64, order) // op(A)
	for i := range exact {
		exact[i] = make([]float64, order)
	}
	for i := range order {
		for j := range order {
			v := &a.Data[i*a.Stride+j]
			*v *= 1 / float32(order)
			seen := float64(0)
			switch {
			case i == j && d == blas.Unit:
				seen, *v = 1, nan // not to be read
			case i == j:
				*v += 1.5
				seen = float64(*v)
			case (j > i) == (ul == blas.Lower):
				*v = nan
			default:
				seen = float64(*v)
			}
			if tA == blas.NoTrans {
				exact[i][j] = seen
			} else {
				exact[j][i] = seen
			}
		}
	}
	for _, solve := range []bool{true, false} {
		alpha := pick(r, alphas)
		x, before := blasMatrix(r, m, n, blas.NoTrans)
		if solve {
			b.Strsm(side, ul, tA, d, m, n, alpha, a.Data, a.Stride, x.Data, x.Stride)
		} else {
			b.Strmm(side, ul, tA, d, m, n, alpha, a.Data, a.Stride, x.Data, x.Stride)
		}
		x.checkGuards(t)
		if alpha == 0 {
			for i := range m {
				require.Equal(t, make([]float32, n), x.Data[i*x.Stride:][:n])
			}
			continue
		}
		// Strsm's X must give back alpha·B.
		factor, scale, got := before, alpha, func(i, j int) float32 { return x.Data[i*x.Stride+j] }
		if solve {
			factor = make([][]float64, m)
			for i := range factor {
				for _, v := range x.Data[i*x.Stride:][:n] {
					factor[i] = append(factor[i], float64(v))
				}
			}
			scale, got = 1, func(i, j int) float32 { return alpha * float32(before[i][j]) }
		}
		rows, cols := factor, transposed(exact, order)
		if side == blas.Left {
			rows, cols = exact, transposed(factor, n)
		}
		for i := range m {
			for j := range n {
				var e entry
				e.add(rows[i], cols[j])
				e.check(t, got(i, j), scale, 0, 0, "solve %v, %c%c%c%c %d×%d, entry %d, %d", solve, side, ul, tA, d, m, n, i, j)
			}
		}
	}
}

// blasVector is n values inc apart, with guards between them.
func blasVector(r *rand.Rand, n, inc int) (*guarded, func(i int) int) {
	step := max(inc, -inc)
	g := newGuarded(r, n, 1, step)
	return g, func(i int) int {
		if inc < 0 {
			i = n - 1 - i
		}
		return i * step
	}
}

func TestLevel2BLAS(t *testing.T) {
	for name, b := range tiledBLAS(2) {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			for _, s := range [][2]int{{0, 3}, {3, 0}, {1, 1}, {3, 4}, {31, 33}, {32, 32}, {33, 40}, {65, 129}, {1, 1100}, {1100, 1}, {520, 530}, {30, 1025}} {
				m, n := s[0], s[1]
				for _, tA := range transposes {
					for _, inc := range [][2]int{{1, 1}, {2, 1}, {1, 3}, {-1, 2}, {3, -2}, {-1, -1}} {
						alpha, beta := pick(r, alphas), pick(r, betas)
						rows, cols := m, n
						if tA != blas.NoTrans {
							rows, cols = n, m
						}
						a, exact := blasMatrix(r, rows, cols, tA)
						x, xi := blasVector(r, cols, inc[0])
						y, yi := blasVector(r, rows, inc[1])
						values := make([]float64, cols)
						for i := range values {
							values[i] = float64(x.Data[xi(i)])
						}
						before := slices.Clone(y.Data)
						b.Sgemv(tA, m, n, alpha, a.Data, a.Stride, x.Data, inc[0], beta, y.Data, inc[1])
						a.unchanged(t, "a")
						x.unchanged(t, "x")
						y.checkGuards(t)
						for i := range rows {
							if cols == 0 { // gonum leaves y as it is
								require.Equal(t, before, y.Data)
								break
							}
							var e entry
							e.add(exact[i], values)
							e.check(t, y.Data[yi(i)], alpha, beta, before[yi(i)], "Sgemv %c %d×%d, %v, entry %d", tA, m, n, inc, i)
						}

						if tA != blas.NoTrans {
							continue
						}
						c, old := blasMatrix(r, m, n, blas.NoTrans)
						u, ui := blasVector(r, m, inc[1])
						b.Sger(m, n, alpha, u.Data, inc[1], x.Data, inc[0], c.Data, c.Stride)
						u.unchanged(t, "x")
						x.unchanged(t, "y")
						c.checkGuards(t)
						for i := range m {
							for j := range n {
								var e entry
								e.add([]float64{float64(u.Data[ui(i)])}, values[j:])
								e.check(t, c.Data[i*c.Stride+j], alpha, 1, float32(old[i][j]), "Sger %d×%d, %v, entry %d, %d", m, n, inc, i, j)
							}
						}
					}
				}
			}
		})
	}
}

func TestLevel1BLAS(t *testing.T) {
	for name, b := range tiledBLAS(2) {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			for _, n := range []int{0, 1, 2, 31, 32, 33, 47, 48, 49, 64, 65, 1000} {
				for _, inc := range [][2]int{{1, 1}, {2, 1}, {-1, 2}} {
					for _, alpha := range alphas {
						x, xi := blasVector(r, n, inc[0])
						y, yi := blasVector(r, n, inc[1])
						before := slices.Clone(y.Data)
						const what = "n = %d, increments %v, alpha %v"
						var dot entry
						for i := range n {
							dot.add([]float64{float64(x.Data[xi(i)])}, []float64{float64(y.Data[yi(i)])})
						}
						dot.check(t, b.Sdot(n, x.Data, inc[0], y.Data, inc[1]), 1, 0, 0, what, n, inc, alpha)

						b.Saxpy(n, alpha, x.Data, inc[0], y.Data, inc[1])
						x.unchanged(t, "x")
						y.checkGuards(t)
						for i := range n {
							var e entry
							e.add([]float64{1}, []float64{float64(x.Data[xi(i)])})
							e.check(t, y.Data[yi(i)], alpha, 1, before[yi(i)], what, n, inc, alpha)
						}
						if inc[0] < 0 {
							continue
						}
						b.Sscal(n, alpha, x.Data, inc[0])
						x.checkGuards(t)
						for i := range n {
							require.Equal(t, alpha*x.copy[guardMargin+xi(i)], x.Data[xi(i)], what, n, inc, alpha)
						}
					}
				}
			}
		})
	}
}

// TestBLASArguments calls every function that is not gonum's own with wrong
// arguments, one and two at a time: it must panic as gonum's does, or not at
// all as gonum's does not.
func TestBLASArguments(t *testing.T) {
	const large, small = 70, 5
	for name, b := range tiledBLAS(2) {
		t.Run(name, func(t *testing.T) {
			own := reflect.TypeOf(b)
			calls := 0
			for _, method := range []string{"Sgemm", "Ssymm", "Ssyrk", "Ssyr2k", "Strsm", "Strmm", "Sgemv", "Sger", "Sdot", "Saxpy", "Sscal"} {
				m, ok := own.MethodByName(method)
				require.True(t, ok)
				for _, n := range []int{large, small} {
					choices := argumentChoices(m.Type, n)
					args := make([]reflect.Value, len(choices))
					for i := range choices {
						args[i] = choices[i][0]
					}
					try := func() {
						want := panicOf(gonumblas.Implementation{}, method, args)
						got := panicOf(b, method, args)
						require.Equal(t, want, got, "%s%v", method, describe(args))
						calls++
					}
					for i, first := range choices {
						for _, v := range first {
							args[i] = v
							for j := i + 1; j < len(choices); j++ {
								for _, w := range choices[j] {
									args[j] = w
									try()
								}
								args[j] = choices[j][0]
							}
						}
						args[i] = first[0]
					}
				}
			}
			require.Greater(t, calls, 5000)
		})
	}
}

// argumentChoices returns for every parameter a good value and then others.
func argumentChoices(f reflect.Type, n int) [][]reflect.Value {
	var choices [][]reflect.Value
	values := func(v ...any) (r []reflect.Value) {
		for _, v := range v {
			r = append(r, reflect.ValueOf(v))
		}
		return r
	}
	for i := 1; i < f.NumIn(); i++ {
		switch p := f.In(i); p {
		case reflect.TypeFor[blas.Transpose]():
			choices = append(choices, values(blas.NoTrans, blas.Trans, blas.Transpose('X')))
		case reflect.TypeFor[blas.Uplo]():
			choices = append(choices, values(blas.Upper, blas.Lower, blas.Uplo('X')))
		case reflect.TypeFor[blas.Side]():
			choices = append(choices, values(blas.Left, blas.Right, blas.Side('X')))
		case reflect.TypeFor[blas.Diag]():
			choices = append(choices, values(blas.Unit, blas.NonUnit, blas.Diag('X')))
		case reflect.TypeFor[int](): // a dimension, leading dimension or increment
			choices = append(choices, values(n, 0, -1, 1, -2, n-1, n+1))
		case reflect.TypeFor[float32]():
			choices = append(choices, values(float32(1), float32(0)))
		case reflect.TypeFor[[]float32]():
			choices = append(choices, values(make([]float32, n*n), make([]float32, n*n-1), make([]float32, n), []float32(nil)))
		default:
			panic(p)
		}
	}
	return choices
}

func describe(args []reflect.Value) (s []string) {
	for _, a := range args {
		if a.Kind() == reflect.Slice {
			s = append(s, fmt.Sprintf("[%d]", a.Len()))
		} else {
			s = append(s, fmt.Sprint(a))
		}
	}
	return s
}

func panicOf(b blas.Float32, method string, args []reflect.Value) (p any) {
	defer func() {
		p = recover()
		if err, ok := p.(error); ok {
			p = err.Error()
		}
	}()
	reflect.ValueOf(b).MethodByName(method).Call(args)
	return nil
}

func TestBLASSpecialValues(t *testing.T) {
	const n = 40
	isNaN := func(x float32) bool { return x != x }
	for name, b := range tiledBLAS(2) {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			for _, tA := range transposes[:2] {
				for _, tB := range transposes[:2] {
					a, bb, c := random(r, n, n), random(r, n, n), random(r, n, n)
					run := func(alpha, beta float32) {
						b.Sgemm(tA, tB, n, n, n, alpha, a.Data, n, bb.Data, n, beta, c.Data, n)
					}
					// A NaN reaches its row or column and nothing else, also
					// when zeros meet it.
					for i := range bb.Data {
						bb.Data[i] = 0
					}
					a.Data[5*n+5] = nan
					run(1, 0)
					for i, v := range c.Data {
						require.Equal(t, i/n == 5, isNaN(v), "NaN in a, %c%c, %d", tA, tB, i)
					}
					a, bb = random(r, n, n), random(r, n, n)
					bb.Data[7*n+7] = inf
					run(1, 0)
					for i, v := range c.Data {
						require.Equal(t, i%n == 7, math.IsInf(float64(v), 0), "Inf in b, %c%c, %d", tA, tB, i)
					}
					bb.Data[7*n+7] = 0
					// Old values count unless beta is 0.
					c.Data[3] = nan
					run(1, 0.5)
					require.True(t, isNaN(c.Data[3]))
					run(1, 1)
					require.True(t, isNaN(c.Data[3]))
					run(1, 0)
					requireFinite(t, c.Data)
					// alpha = 0 is gonum's.
					a.Data[1], bb.Data[2] = nan, inf
					want := slices.Clone(c.Data)
					gonumblas.Implementation{}.Sgemm(tA, tB, n, n, n, 0, a.Data, n, bb.Data, n, 2, want, n)
					run(0, 2)
					for i := range want {
						require.Equal(t, math.Float32bits(want[i]), math.Float32bits(c.Data[i]))
					}
				}
				a, x, y := random(r, n, n), random(r, 1, n).Data, random(r, 1, n).Data
				x[3], y[4] = inf, nan
				b.Sgemv(tA, n, n, 1, a.Data, n, x, 1, 0, y, 1)
				for _, v := range y {
					require.True(t, math.IsInf(float64(v), 0))
				}
				y[4] = nan
				b.Sgemv(tA, n, n, 1, a.Data, n, x, 1, 2, y, 1)
				require.True(t, isNaN(y[4]))

				c := random(r, n, n)
				a.Data[3*n+3] = nan
				c.Data[8*n+2] = nan
				b.Ssyrk(blas.Lower, tA, n, n, 1, a.Data, n, 0, c.Data, n)
				for i := range n {
					for j := range i + 1 {
						require.Equal(t, i == 3 || j == 3, isNaN(c.Data[i*n+j]), "Ssyrk, %d, %d", i, j)
					}
				}
			}
		})
	}
}

// TestBLASWorkers has results that do not depend on the workers, from several
// goroutines at once.
func TestBLASWorkers(t *testing.T) {
	const m, n, k = 150, 300, 1600
	r := rand.New(rand.NewPCG(1, 2))
	x, y := random(r, k, m), random(r, k, n)
	before := runtime.NumGoroutine()
	product := func(b blas.Float32) []float32 {
		c := make([]float32, m*n)
		b.Sgemm(blas.Trans, blas.NoTrans, m, n, k, 1, x.Data, m, y.Data, n, 0, c, n)
		b.Ssyrk(blas.Upper, blas.Trans, m, k, 1, x.Data, m, 1, c, n)
		return append(c, vector(b, y.Data, k, n, x.Data[:k])...)
	}
	one := tiledBLAS(1)
	for _, workers := range []int{1, 2, 5} {
		for name, b := range tiledBLAS(workers) {
			want := product(one[name])
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					if !slices.Equal(want, product(b)) {
						t.Errorf("%s with %d workers differs", name, workers)
					}
				})
			}
			wg.Wait()
		}
	}
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			break
		}
		time.Sleep(time.Millisecond)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before, "goroutines outlive their call")
}

// vector is Aᵀ·x.
func vector(b blas.Float32, a []float32, rows, cols int, x []float32) []float32 {
	y := make([]float32, cols)
	b.Sgemv(blas.Trans, rows, cols, 1, a, cols, x, 1, 0, y, 1)
	return y
}

func TestBLASAllocations(t *testing.T) {
	if raced {
		return
	}
	r := rand.New(rand.NewPCG(1, 2))
	const n = 200
	x, y, c := random(r, n, n).Data, random(r, n, n).Data, random(r, n, n).Data
	for workers, most := range map[int]float64{1: 0, 2: 8} {
		for name, b := range tiledBLAS(workers) {
			require.LessOrEqual(t, testing.AllocsPerRun(20, func() {
				b.Sgemm(blas.Trans, blas.Trans, n, n, n, 2, x, n, y, n, 3, c, n)
			}), most, name)
			require.LessOrEqual(t, testing.AllocsPerRun(20, func() {
				b.Ssyrk(blas.Upper, blas.Trans, n, n, 2, x, n, 3, c, n)
				b.Ssymm(blas.Left, blas.Upper, n, n, 2, x, n, y, n, 3, c, n)
			}), 2*most, name)
			require.Zero(t, testing.AllocsPerRun(20, func() { b.Sgemv(blas.Trans, n, n, 2, x, n, y, 2, 3, c, 3) }), name)
		}
	}
}

// TestBLASOfPlainKernels leaves everything to gonum.
func TestBLASOfPlainKernels(t *testing.T) {
	for _, name := range []string{"generic", "gonum"} {
		k, err := Select(name)
		require.NoError(t, err)
		require.Equal(t, gonumblas.Implementation{}, BLAS(k))
	}
}

type namedBLAS struct {
	name string
	blas.Float32
}

// rivals are gonum's BLAS and every kernel's.
func rivals() []namedBLAS {
	all := []namedBLAS{{"gonum", gonumblas.Implementation{}}}
	for _, k := range All() {
		if k.table().gemm.run != nil {
			all = append(all, namedBLAS{k.Name(), BLAS(k)})
		}
	}
	return all
}

// reportBest reports the best run of f, because machines are shared.
func reportBest(b *testing.B, flops float64, f func()) {
	best := time.Duration(math.MaxInt64)
	for b.Loop() {
		from := time.Now()
		f()
		best = min(best, time.Since(from))
	}
	b.ReportMetric(flops/float64(best.Nanoseconds()), "GFLOP/s")
}

func BenchmarkSgemm(b *testing.B) {
	for _, s := range []struct{ m, k, n int }{
		{4, 4, 4}, {8, 8, 8}, {16, 16, 16}, {32, 32, 32}, {64, 64, 64}, {128, 128, 128}, {256, 256, 256}, {1024, 1024, 1024},
		{1, 1024, 1024}, {8, 1024, 1024}, {1024, 1024, 1}, {1024, 1024, 8}, {1024, 1, 1024}, {1024, 8, 1024},
	} {
		for _, tA := range transposes[:2] {
			for _, tB := range transposes[:2] {
				for _, k := range rivals() {
					b.Run(fmt.Sprintf("%dx%dx%d/%c%c/%s", s.m, s.k, s.n, tA, tB, k.name), func(b *testing.B) {
						r := rand.New(rand.NewPCG(1, 2))
						x, y, c := random(r, s.m, s.k).Data, random(r, s.k, s.n).Data, random(r, s.m, s.n).Data
						lda, ldb := s.k, s.n
						if tA == blas.Trans {
							lda = s.m
						}
						if tB == blas.Trans {
							ldb = s.k
						}
						reportBest(b, 2*float64(s.m)*float64(s.k)*float64(s.n), func() {
							k.Sgemm(tA, tB, s.m, s.n, s.k, 1, x, lda, y, ldb, 0, c, s.n)
						})
					})
				}
			}
		}
	}
}

func BenchmarkBLAS(b *testing.B) {
	for _, n := range []int{32, 128, 1024} {
		r := rand.New(rand.NewPCG(1, 2))
		x, y, c := random(r, n, n).Data, random(r, n, n).Data, random(r, n, n).Data
		f := float64(n)
		triangle := slices.Clone(x)
		for i := range n {
			for j := range n {
				triangle[i*n+j] /= float32(n * n)
			}
			triangle[i*n+i] = 1
		}
		for _, k := range rivals() {
			for _, c := range []struct {
				name  string
				flops float64
				run   func()
			}{
				{"Ssyrk/NoTrans", f * f * f, func() { k.Ssyrk(blas.Lower, blas.NoTrans, n, n, 1, x, n, 0, c, n) }},
				{"Ssyrk/Trans", f * f * f, func() { k.Ssyrk(blas.Lower, blas.Trans, n, n, 1, x, n, 0, c, n) }},
				{"Ssyr2k", 2 * f * f * f, func() { k.Ssyr2k(blas.Upper, blas.NoTrans, n, n, 1, x, n, y, n, 0, c, n) }},
				{"Ssymm/Left", 2 * f * f * f, func() { k.Ssymm(blas.Left, blas.Upper, n, n, 1, x, n, y, n, 0, c, n) }},
				{"Ssymm/Right", 2 * f * f * f, func() { k.Ssymm(blas.Right, blas.Lower, n, n, 1, x, n, y, n, 0, c, n) }},
				{"Strsm/Left", f * f * f, func() { k.Strsm(blas.Left, blas.Lower, blas.NoTrans, blas.NonUnit, n, n, 1, triangle, n, c, n) }},
				{"Strsm/Right", f * f * f, func() { k.Strsm(blas.Right, blas.Lower, blas.Trans, blas.NonUnit, n, n, 1, triangle, n, c, n) }},
				{"Strmm", f * f * f, func() { k.Strmm(blas.Left, blas.Upper, blas.NoTrans, blas.NonUnit, n, n, 1, triangle, n, c, n) }},
				{"Sgemv/NoTrans", 2 * f * f, func() { k.Sgemv(blas.NoTrans, n, n, 1, x, n, y, 1, 0, c, 1) }},
				{"Sgemv/Trans", 2 * f * f, func() { k.Sgemv(blas.Trans, n, n, 1, x, n, y, 1, 0, c, 1) }},
				{"Sger", 2 * f * f, func() { k.Sger(n, n, 1e-9, y, 1, x, 1, c, n) }},
				{"Sdot", 2 * f, func() { k.Sdot(n, x, 1, y, 1) }},
				{"Saxpy", 2 * f, func() { k.Saxpy(n, 1e-9, x, 1, y, 1) }},
				{"Sscal", f, func() { k.Sscal(n, 1, x, 1) }},
			} {
				b.Run(fmt.Sprintf("%s/%d/%s", c.name, n, k.name), func(b *testing.B) { reportBest(b, c.flops, c.run) })
			}
		}
	}
}

// TestBLASMemory: between calls a BLAS keeps what its documentation says,
// whatever the sizes were.
func TestBLASMemory(t *testing.T) {
	for _, k := range All() {
		b, ok := BLAS(k).(*float32BLAS)
		if !ok {
			continue
		}
		const side, n, long = 2500, 40, 1 << 20
		a, x, y := make([]float32, side*side), make([]float32, side*n), make([]float32, side*n)
		for _, ul := range []blas.Uplo{blas.Upper, blas.Lower} {
			b.Ssymm(blas.Left, ul, side, n, 1, a, side, x, n, 0, y, n)
			b.Ssymm(blas.Right, ul, n, side, 1, a, side, x, side, 0, y, side)
		}
		b.Sgemm(blas.Trans, blas.Trans, side, side, 1250, 1, a, side, a, side, 0, make([]float32, side*side), side)
		b.Sgemv(blas.NoTrans, 1, long, 1, make([]float32, long), long, make([]float32, 2*long), 2, 0, y, 1)
		c := b.calls.Get()
		floats := cap(c.packed.data) + cap(c.transposed) + cap(c.square) + cap(c.xs) + cap(c.ys)
		require.NotZero(t, floats)
		require.LessOrEqual(t, 4*floats, 16<<20, k)
	}
}
