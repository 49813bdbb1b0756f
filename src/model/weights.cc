// SPDX-License-Identifier: Apache-2.0
#include "model/weights.h"

namespace deepshock {
namespace {

// Walks one layer's declarations; holds what they have in common.
class LayerVisitor {
 public:
  LayerVisitor(const ModelSpec& spec, int layer, const WeightVisitor& visit)
      : spec_(spec), layer_(layer), visit_(visit) {}

  Status Visit(const LayerSpec& layer, LayerWeights& w) {
    DS_RETURN_IF_ERROR(Vector("attn_norm.weight", spec_.hidden, w.attn_norm));
    if (spec_.attention.kind == AttentionKind::kLatent) {
      DS_RETURN_IF_ERROR(LatentWeights(w));
    } else {
      DS_RETURN_IF_ERROR(GroupedWeights(w));
    }
    DS_RETURN_IF_ERROR(Whole("attn_output.weight", spec_.hidden,
                             int64_t{spec_.attention.num_heads} * spec_.attention.v_head_dim, w.output));
    if (spec_.attention.output_bias)
      DS_RETURN_IF_ERROR(Vector("attn_output.bias", spec_.hidden, w.output_bias));
    DS_RETURN_IF_ERROR(Vector("ffn_norm.weight", spec_.hidden, w.ffn_norm));
    if (!layer.is_moe) return Mlp("", -1, spec_.dense_width, false, w.dense);
    return MixtureWeights(w);
  }

  Status Mtp(MtpWeights& w) {
    DS_RETURN_IF_ERROR(Vector("nextn.enorm.weight", spec_.hidden, w.embedding_norm));
    DS_RETURN_IF_ERROR(Vector("nextn.hnorm.weight", spec_.hidden, w.hidden_norm));
    DS_RETURN_IF_ERROR(Whole("nextn.eh_proj.weight", spec_.hidden, 2 * int64_t{spec_.hidden}, w.projection));
    DS_RETURN_IF_ERROR(Optional("nextn.embed_tokens.weight", spec_.vocab_size, spec_.hidden, w.embedding));
    DS_RETURN_IF_ERROR(Vector("nextn.shared_head_norm.weight", spec_.hidden, w.head_norm));
    return Optional("nextn.shared_head_head.weight", spec_.vocab_size, spec_.hidden, w.head);
  }

 private:
  Status Whole(std::string name, int64_t rows, int64_t cols, Matrix& m, int expert = -1) {
    return visit_({std::move(name), layer_, expert, rows, cols, false, false}, m);
  }
  Status Optional(std::string name, int64_t rows, int64_t cols, Matrix& m) {
    return visit_({std::move(name), layer_, -1, rows, cols, true, false}, m);
  }
  Status Vector(std::string name, int64_t cols, Matrix& m, int expert = -1) {
    return visit_({std::move(name), layer_, expert, 1, cols, false, true}, m);
  }

  Status GroupedWeights(LayerWeights& w) {
    const AttentionSpec& a = spec_.attention;
    const int64_t hidden = spec_.hidden, q_rows = int64_t{a.num_heads} * a.head_dim,
                  k_rows = int64_t{a.num_kv_heads} * a.head_dim,
                  v_rows = int64_t{a.num_kv_heads} * a.v_head_dim;
    DS_RETURN_IF_ERROR(Whole("attn_q.weight", q_rows, hidden, w.q));
    DS_RETURN_IF_ERROR(Whole("attn_k.weight", k_rows, hidden, w.k));
    DS_RETURN_IF_ERROR(Whole("attn_v.weight", v_rows, hidden, w.v));
    if (a.qkv_bias) {
      DS_RETURN_IF_ERROR(Vector("attn_q.bias", q_rows, w.q_bias));
      DS_RETURN_IF_ERROR(Vector("attn_k.bias", k_rows, w.k_bias));
      DS_RETURN_IF_ERROR(Vector("attn_v.bias", v_rows, w.v_bias));
    }
    if (a.qk_norm != QkNorm::kNone) {
      const bool whole = a.qk_norm == QkNorm::kWhole;
      DS_RETURN_IF_ERROR(Vector("attn_q_norm.weight", whole ? q_rows : a.head_dim, w.q_norm));
      DS_RETURN_IF_ERROR(Vector("attn_k_norm.weight", whole ? k_rows : a.head_dim, w.k_norm));
    }
    if (a.sinks) DS_RETURN_IF_ERROR(Vector("attn_sinks.weight", a.num_heads, w.sinks));
    return {};
  }

  Status LatentWeights(LayerWeights& w) {
    const AttentionSpec& a = spec_.attention;
    const int64_t hidden = spec_.hidden, heads = a.num_heads, q_rows = heads * a.head_dim;
    if (a.q_lora_rank == 0) {
      DS_RETURN_IF_ERROR(Whole("attn_q.weight", q_rows, hidden, w.q));
    } else {
      DS_RETURN_IF_ERROR(Whole("attn_q_a.weight", a.q_lora_rank, hidden, w.q_a));
      DS_RETURN_IF_ERROR(Vector("attn_q_a_norm.weight", a.q_lora_rank, w.q_a_norm));
      DS_RETURN_IF_ERROR(Whole("attn_q_b.weight", q_rows, a.q_lora_rank, w.q_b));
    }
    DS_RETURN_IF_ERROR(Whole("attn_kv_a_mqa.weight", int64_t{a.kv_lora_rank} + a.rope_dim, hidden, w.kv_a));
    DS_RETURN_IF_ERROR(Vector("attn_kv_a_norm.weight", a.kv_lora_rank, w.kv_a_norm));
    DS_RETURN_IF_ERROR(
        Optional("attn_kv_b.weight", heads * (int64_t{a.nope_dim} + a.v_head_dim), a.kv_lora_rank, w.kv_b));
    DS_RETURN_IF_ERROR(Optional("attn_k_b.weight", heads * a.kv_lora_rank, a.nope_dim, w.k_b));
    return Optional("attn_v_b.weight", heads * a.v_head_dim, a.kv_lora_rank, w.v_b);
  }

  Status MixtureWeights(LayerWeights& w) {
    const int64_t num_experts = spec_.router.num_experts;
    DS_RETURN_IF_ERROR(Whole("ffn_gate_inp.weight", num_experts, spec_.hidden, w.router));
    if (spec_.router.has_logit_bias)
      DS_RETURN_IF_ERROR(Vector("ffn_gate_inp.bias", num_experts, w.router_bias));
    if (spec_.router.has_selection_bias) {
      DS_RETURN_IF_ERROR(Vector("exp_probs_b.bias", num_experts, w.selection_bias));
    }
    for (int e = 0; e < spec_.router.num_experts; ++e) {
      DS_RETURN_IF_ERROR(
          Mlp("_exps", e, spec_.expert.width, spec_.expert.bias, w.experts[static_cast<size_t>(e)]));
    }
    if (spec_.expert.shared_width > 0)
      DS_RETURN_IF_ERROR(Mlp("_shexp", -1, spec_.expert.shared_width, false, w.shared));
    if (spec_.expert.shared_gate)
      DS_RETURN_IF_ERROR(Vector("ffn_gate_inp_shexp.weight", spec_.hidden, w.shared_gate));
    return {};
  }

  Status Mlp(const std::string& suffix, int expert, int64_t width, bool bias, ExpertWeights& w) {
    DS_RETURN_IF_ERROR(Whole("ffn_gate" + suffix + ".weight", width, spec_.hidden, w.gate, expert));
    DS_RETURN_IF_ERROR(Whole("ffn_up" + suffix + ".weight", width, spec_.hidden, w.up, expert));
    DS_RETURN_IF_ERROR(Whole("ffn_down" + suffix + ".weight", spec_.hidden, width, w.down, expert));
    if (!bias) return {};
    DS_RETURN_IF_ERROR(Vector("ffn_gate" + suffix + ".bias", width, w.gate_bias, expert));
    DS_RETURN_IF_ERROR(Vector("ffn_up" + suffix + ".bias", width, w.up_bias, expert));
    return Vector("ffn_down" + suffix + ".bias", spec_.hidden, w.down_bias, expert);
  }

  const ModelSpec& spec_;
  int layer_;
  const WeightVisitor& visit_;
};

}  // namespace

std::string Describe(const WeightDecl& decl) {
  const std::string where = decl.layer < 0 ? decl.name : fmt::format("blk.{}.{}", decl.layer, decl.name);
  return decl.expert < 0 ? where : fmt::format("{} of expert {}", where, decl.expert);
}

ModelWeights EmptyWeights(const ModelSpec& spec, int num_mtp_layers) {
  ModelWeights weights;
  weights.layers.resize(spec.layers.size());
  weights.mtp.resize(static_cast<size_t>(num_mtp_layers));
  const auto num_experts = static_cast<size_t>(spec.router.num_experts);
  for (size_t l = 0; l < spec.layers.size(); ++l) {
    if (spec.layers[l].is_moe) weights.layers[l].experts.resize(num_experts);
  }
  for (MtpWeights& mtp : weights.mtp) {
    if (spec.mtp_layer.is_moe) mtp.layer.experts.resize(num_experts);
  }
  return weights;
}

Status VisitWeights(const ModelSpec& spec, ModelWeights& weights, const WeightVisitor& visit) {
  const int64_t hidden = spec.hidden, vocab = spec.vocab_size;
  DS_RETURN_IF_ERROR(visit({"token_embd.weight", -1, -1, vocab, hidden, false, false}, weights.embedding));
  DS_RETURN_IF_ERROR(visit({"output_norm.weight", -1, -1, 1, hidden, false, true}, weights.output_norm));
  if (!spec.tied_head) {
    DS_RETURN_IF_ERROR(visit({"output.weight", -1, -1, vocab, hidden, false, false}, weights.head));
  }
  for (int l = 0; l < spec.num_layers(); ++l) {
    const auto i = static_cast<size_t>(l);
    DS_RETURN_IF_ERROR(LayerVisitor(spec, l, visit).Visit(spec.layers[i], weights.layers[i]));
  }
  for (size_t i = 0; i < weights.mtp.size(); ++i) {
    LayerVisitor visitor(spec, spec.num_layers() + static_cast<int>(i), visit);
    DS_RETURN_IF_ERROR(visitor.Mtp(weights.mtp[i]));
    DS_RETURN_IF_ERROR(visitor.Visit(spec.mtp_layer, weights.mtp[i].layer));
  }
  return {};
}

Status VisitWeights(const ModelSpec& spec, const ModelWeights& weights, const ConstWeightVisitor& visit) {
  // The visitor sees every matrix as const, so nothing is written through the cast.
  return VisitWeights(spec, const_cast<ModelWeights&>(weights),
                      [&](const WeightDecl& decl, Matrix& m) { return visit(decl, m); });
}

WeightTotals CountWeights(const ModelSpec& spec, const ModelWeights& weights) {
  WeightTotals totals;
  const Status status = VisitWeights(spec, weights, [&](const WeightDecl& decl, const Matrix& m) -> Status {
    if (!m) return {};
    const int64_t parameters = m.rows * m.cols;
    const bool is_mtp = decl.layer >= spec.num_layers(), is_expert = decl.expert >= 0;
    const bool is_embedding = decl.name == "token_embd.weight";
    totals.parameters += parameters;
    totals.bytes += m.bytes();
    if (is_mtp) totals.mtp_parameters += parameters;
    if (is_expert) totals.expert_bytes += m.bytes();
    if (is_mtp || (is_embedding && !spec.tied_head)) return {};
    if (is_expert) {
      // Every expert of a layer has the same shape; a token multiplies K of E. Counted once, with expert 0.
      if (decl.expert > 0) return {};
      totals.active_parameters += parameters * spec.router.top_k;
      totals.active_bytes += m.bytes() * spec.router.top_k;
    } else {
      totals.active_parameters += parameters;
      totals.active_bytes += m.bytes();
    }
    return {};
  });
  DS_CHECK(status.ok(), "counting does not fail");
  return totals;
}

}  // namespace deepshock
