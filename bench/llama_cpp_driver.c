/* SPDX-License-Identifier: Apache-2.0
 * Times llama.cpp through its C API, for bench/side_by_side, which compiles it against llama.cpp's headers and
 * libraries of one release. Computes what `deepshock bench` computes: the same prompts, depths and batches.
 *
 *   llama_cpp_driver LIBRARIES MODEL THREADS TEST...
 *     LIBRARIES  folder with the libggml-cpu-*.so, of which llama.cpp loads the best
 *     TEST       pp:TOKENS | tg:TOKENS:DEPTH | batch:SEQUENCES:TOKENS:PROMPT
 * Prints a JSON line for each test, after one with the loading time:
 *   {"test": "tg:64:0", "tokens": 64, "seconds": 4.1}
 * A test runs in a context of its own, after a pass that is not timed. Exit code 1 and a line on stderr when
 * something fails. */
#include <ggml-backend.h>
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { kPrefillChunk = 512 };

struct Test {
  const char* name;
  int num_sequences;
  int prompt; /* tokens of each sequence before the clock starts */
  int timed;  /* tokens of each sequence that are timed */
  int is_prefill;
};

static double Now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void Quiet(enum ggml_log_level level, const char* text, void* unused) {
  (void)unused;
  if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static int Fail(const char* what, const char* thing) {
  fprintf(stderr, "llama_cpp_driver: %s: %s\n", thing, what);
  return 1;
}

static int ParseTest(const char* text, struct Test* test) {
  memset(test, 0, sizeof *test);
  test->name = text;
  test->num_sequences = 1;
  if (sscanf(text, "pp:%d", &test->timed) == 1) {
    test->is_prefill = 1;
  } else if (sscanf(text, "tg:%d:%d", &test->timed, &test->prompt) != 2 &&
             sscanf(text, "batch:%d:%d:%d", &test->num_sequences, &test->timed, &test->prompt) != 3) {
    return 0;
  }
  return test->timed > 0 && test->prompt >= 0 && test->num_sequences > 0;
}

/* One of the ordinary tokens: ids below 256 are bytes in most vocabularies, the last ones are special. */
static llama_token RandomToken(int num_vocab, unsigned* state) {
  *state = *state * 1664525u + 1013904223u;
  return (llama_token)((*state >> 8) % (unsigned)(num_vocab > 1024 ? num_vocab - 512 : num_vocab));
}

static void AddToken(struct llama_batch* batch, llama_token token, int position, int sequence, int logits) {
  const int at = batch->n_tokens++;
  batch->token[at] = token;
  batch->pos[at] = position;
  batch->n_seq_id[at] = 1;
  batch->seq_id[at][0] = sequence;
  batch->logits[at] = (int8_t)logits;
}

/* `count` tokens of one sequence from `first` on; logits of the last only. */
static int Prefill(struct llama_context* context, struct llama_batch* batch, int sequence, int first, int count,
                   int num_vocab, unsigned* state) {
  for (int done = 0; done < count;) {
    batch->n_tokens = 0;
    for (; done < count && batch->n_tokens < kPrefillChunk; ++done) {
      AddToken(batch, RandomToken(num_vocab, state), first + done, sequence, done == count - 1);
    }
    if (llama_decode(context, *batch) != 0) return 0;
  }
  llama_synchronize(context);
  return 1;
}

static int Decode(struct llama_context* context, struct llama_batch* batch, const struct Test* test, int first,
                  int count, int num_vocab, unsigned* state) {
  for (int i = 0; i < count; ++i) {
    batch->n_tokens = 0;
    for (int s = 0; s < test->num_sequences; ++s) {
      AddToken(batch, RandomToken(num_vocab, state), first + i, s, 1);
    }
    if (llama_decode(context, *batch) != 0) return 0;
  }
  llama_synchronize(context);
  return 1;
}

static int RunTest(struct llama_model* model, const struct Test* test, int threads) {
  const int num_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  struct llama_context_params params = llama_context_default_params();
  const int length = test->prompt + test->timed + 8;
  params.n_ctx = (uint32_t)(length * test->num_sequences);
  params.n_seq_max = (uint32_t)test->num_sequences;
  params.n_batch = kPrefillChunk;
  params.n_ubatch = kPrefillChunk;
  params.n_threads = threads;
  params.n_threads_batch = threads;
  params.no_perf = true;
  params.kv_unified = false; /* each sequence scans its own keys only */
  struct llama_context* context = llama_init_from_model(model, params);
  if (context == NULL) return Fail("no context for this test", test->name);
  struct llama_batch batch = llama_batch_init(kPrefillChunk, 0, 1);
  unsigned state = 1;
  /* Untimed: one token, so that graphs and buffers are there. */
  int ok = Prefill(context, &batch, 0, 0, 1, num_vocab, &state);
  llama_memory_clear(llama_get_memory(context), true);
  for (int s = 0; ok && s < test->num_sequences && test->prompt > 0; ++s) {
    ok = Prefill(context, &batch, s, 0, test->prompt, num_vocab, &state);
  }
  const int warm = test->is_prefill ? 0 : 2; /* decode steps of this batch size that are not timed */
  ok = ok && Decode(context, &batch, test, test->prompt, warm, num_vocab, &state);
  const double start = Now();
  if (test->is_prefill) {
    ok = ok && Prefill(context, &batch, 0, 0, test->timed, num_vocab, &state);
  } else {
    ok = ok && Decode(context, &batch, test, test->prompt + warm, test->timed, num_vocab, &state);
  }
  const double seconds = Now() - start;
  llama_batch_free(batch);
  llama_free(context);
  if (!ok) return Fail("llama_decode failed", test->name);
  printf("{\"test\": \"%s\", \"tokens\": %d, \"seconds\": %.6f}\n", test->name,
         test->timed * test->num_sequences, seconds);
  fflush(stdout);
  return 0;
}

int main(int argc, char** argv) {
  if (argc < 5) return Fail("expected LIBRARIES MODEL THREADS TEST...", "usage");
  struct Test test;
  for (int i = 4; i < argc; ++i) {
    if (!ParseTest(argv[i], &test)) return Fail("expected pp:N, tg:N:DEPTH or batch:SEQUENCES:N:PROMPT", argv[i]);
  }
  const int threads = atoi(argv[3]);
  if (threads < 1) return Fail("expected a number of threads", argv[3]);
  llama_log_set(Quiet, NULL);
  ggml_backend_load_all_from_path(argv[1]);
  const double start = Now();
  struct llama_model_params params = llama_model_default_params();
  params.n_gpu_layers = 0;
  struct llama_model* model = llama_model_load_from_file(argv[2], params);
  if (model == NULL) return Fail("llama.cpp could not load it", argv[2]);
  printf("{\"test\": \"load\", \"tokens\": 0, \"seconds\": %.6f}\n", Now() - start);
  fflush(stdout);
  int code = 0;
  for (int i = 4; i < argc && code == 0; ++i) {
    ParseTest(argv[i], &test);
    code = RunTest(model, &test, threads);
  }
  llama_model_free(model);
  return code;
}
