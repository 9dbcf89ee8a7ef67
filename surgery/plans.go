package surgery

import (
	"fmt"
	"strings"

	"github.com/clipsurgery/clipsurgery/vit"
)

// In the formulas below x are the rows that enter a block, h = LN1(x); Q, K and
// V its projections of h, per head; s = head_dim^(-1/2); σ is softmax over a
// row, O joins the heads and projects them with bias, M(z) = MLP(LN2(z)). y
// leaves the block. "Last" is the last block; indices of earlier blocks are
// those of a tower of 12, counted back from its end on others.
//
// On a ViT all plans leave the class row alone: it is plain CLIP's.

// Raw is the untouched tower: y = z + M(z), z = x + O(σ(s·Q·Kᵀ)·V).
// Source: openai/CLIP clip/model.py:VisionTransformer (Radford et al., arXiv
// 2103.00020).
func Raw() vit.Plan { return Compose() }

// CLIPSurgery is the plan of the paper (section 3.2): beside the untouched
// stream, the last six blocks add value-value attention and no FFN,
//
//	x̂ ← x̂ + O(σ(s·V·Vᵀ)·V),
//
// V taken from the untouched stream. Patches come from x̂, the class token from
// the untouched stream. Positions: bilinear.
// Source: xmed-lab/CLIP_Surgery clip/clip_surgery_model.py (Li et al., arXiv
// 2304.05653).
func CLIPSurgery() vit.Plan {
	return Compose(LastBlocks(6), Beside(), Attend(vit.V, vit.V), WithoutFFN())
}

// CLIPSurgeryUnit is [CLIPSurgery] as the paper describes it for ResNets: value
// vectors are divided by their norm, per head, and scores are 8 times as large,
//
//	σ(8·s·V̄·V̄ᵀ)·V.
//
// The published code contains this branch but never takes it, so its numbers,
// and those of the paper's demo, are those of CLIPSurgery on ResNets too.
// Source: Li et al., arXiv 2304.05653, section 3.2.
func CLIPSurgeryUnit() vit.Plan {
	return Compose(LastBlocks(6), Beside(), Attend(vit.V, vit.V, Unit(), Scale(8)), WithoutFFN())
}

// MaskCLIP lets every patch of the last block attend only to itself,
//
//	y = z + M(z),  z = x + O(V).
//
// Positions: bicubic.
// Source: chongzhou96/MaskCLIP mmseg/models/backbones/vit.py (Zhou et al.,
// arXiv 2112.01071).
func MaskCLIP() vit.Plan {
	return Compose(LastBlocks(1), AttendItself(), ResizePositions(vit.PositionsBicubic))
}

// GEM is CLIP Surgery's second stream with the mean of three iterated
// self-self attentions,
//
//	x̂ ← x̂ + O((A_Q + A_K + A_V)/3·V),
//	A_p = σ(τ·p̄₁·p̄₁ᵀ),  p₁ = σ(τ·p̄·p̄ᵀ)·p̄,  τ = s·mean‖h‖,
//
// a bar dividing rows by their norm, per head. Positions: antialiased bicubic.
// Source: WalBouss/GEM gem/gem_utils.py (Bousselham et al., arXiv 2312.00878).
func GEM() vit.Plan {
	third := func(p vit.Projection) Step {
		return Attend(p, p, Weight(1./3), Unit(), InputScale(), Iterate(1))
	}
	return Compose(LastBlocks(6), Beside(), third(vit.Q), third(vit.K), third(vit.V), WithoutFFN(),
		ResizePositions(vit.PositionsBicubicAntialias))
}

// SCLIP sums query-query and key-key attention in the last block,
//
//	y = z + M(z),  z = x + O((σ(s·Q·Qᵀ) + σ(s·K·Kᵀ))·V).
//
// Positions: bicubic, with the offset of 0.1.
// Source: wangf3014/SCLIP clip/model.py (Wang et al., arXiv 2312.01597).
func SCLIP() vit.Plan {
	return Compose(LastBlocks(1), AttendAlike(), ResizePositions(vit.PositionsBicubicOffset))
}

// ClearCLIP reduces the last block to query-query attention,
//
//	y = O(σ(s·Q·Qᵀ)·V).
//
// Positions: bicubic, with the offset of 0.1.
// Source: mc-lan/ClearCLIP open_clip/transformer.py (Lan et al., arXiv
// 2407.12442).
func ClearCLIP() vit.Plan {
	return Compose(LastBlocks(1), Attend(vit.Q, vit.Q), WithoutResidual(), WithoutFFN(),
		ResizePositions(vit.PositionsBicubicOffset))
}

// NACLIP reduces the last block to key-key attention that favors neighbors,
//
//	y = O(σ(s·K·Kᵀ + G)·V),  G = exp(-d²/(2·5²)) at a distance of d patches,
//
// 0 in the class token's row and column. Positions: bicubic, with the offset of
// 0.1.
// Source: sinahmr/NACLIP clip/model.py (Hajimiri et al., arXiv 2404.08181).
func NACLIP() vit.Plan {
	return Compose(LastBlocks(1), Attend(vit.K, vit.K, Gaussian(5)), WithoutResidual(), WithoutFFN(),
		ResizePositions(vit.PositionsBicubicOffset))
}

// ITACLIP is the attention of the method of that name: with B = σ(s·Q·Qᵀ) +
// σ(s·K·Kᵀ) of a block, the last one computes
//
//	y = x + O((½·B₁₂ + ½·mean(B₇, B₈, B₁₀))·V)
//
// and no FFN. The method's picture views and generated texts are the caller's.
// Positions: bicubic, with the offset of 0.1.
// Source: m-arda-aydn/ITACLIP clip/model.py (Aydın et al., arXiv 2411.12044).
func ITACLIP() vit.Plan {
	return Compose(LastBlocks(1), AttendAlike(Weight(1./2)),
		AttendAlike(Weight(1./6), BlocksBefore(5)),
		AttendAlike(Weight(1./6), BlocksBefore(4)),
		AttendAlike(Weight(1./6), BlocksBefore(2)), WithoutFFN(),
		ResizePositions(vit.PositionsBicubicOffset))
}

// ResCLIP is the cross-layer half of the method of that name, on top of
// NACLIP's attention: the last block computes
//
//	y = O(2·(½·σ(s·K·Kᵀ + G) + ½·R)·V),  R = mean of σ(s·Q·Kᵀ) over blocks 6–9,
//
// with G of [NACLIP]. The other half, which feeds a first segmentation back, is
// not included. The source has 0.4–0.8 in place of ½, depending on the data
// set. Positions: bicubic, with the offset of 0.1. Source: yvhangyang/ResCLIP
// clip/model.py (Yang et al., arXiv 2411.15851).
func ResCLIP() vit.Plan {
	steps := []Step{LastBlocks(1), Attend(vit.K, vit.K, Gaussian(5)), WithoutResidual(), WithoutFFN(),
		ResizePositions(vit.PositionsBicubicOffset)}
	for before := 6; before >= 3; before-- {
		steps = append(steps, Attend(vit.Q, vit.K, Weight(1./4), BlocksBefore(before)))
	}
	return Compose(steps...)
}

// NamedPlan is a plan and its name.
type NamedPlan struct {
	Name string
	Plan vit.Plan
}

// Plans returns the published plans of this package, the oldest first.
func Plans() []NamedPlan {
	return []NamedPlan{
		{"Raw", Raw()}, {"MaskCLIP", MaskCLIP()}, {"CLIPSurgery", CLIPSurgery()}, {"SCLIP", SCLIP()}, {"GEM", GEM()},
		{"NACLIP", NACLIP()}, {"ClearCLIP", ClearCLIP()}, {"ITACLIP", ITACLIP()}, {"ResCLIP", ResCLIP()},
	}
}

// PlanNamed returns the plan of that name in [Plans], whatever its upper and
// lower case.
func PlanNamed(name string) (vit.Plan, error) {
	var names []string
	for _, p := range Plans() {
		if strings.EqualFold(p.Name, name) {
			return p.Plan, nil
		}
		names = append(names, p.Name)
	}
	return vit.Plan{}, fmt.Errorf("surgery: no plan %q: %s", name, strings.Join(names, ", "))
}
