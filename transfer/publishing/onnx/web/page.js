// Loads the model and ONNX Runtime, each file checked by its hash, and classifies photos.

const byId = (id) => document.getElementById(id);
const SHOWN = 5; // classes
const BLOCK = 8; // pixels a side, of a JPEG
const MOST_PIXELS = 4e6; // of a picture that is not reduced first
const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)}%`;
let facts, ort, session;
let queue = Promise.resolve(); // one photo after the other

// --- loading -------------------------------------------------------------------------------------

async function download(name, { url, bytes, integrity }, loaded) {
  const answer = await fetch(url ?? name, { integrity }).catch(() => null);
  if (!answer?.ok) throw new Error(`${name} could not be loaded. Reload the page to try again.`);
  const data = new Uint8Array(bytes), reader = answer.body.getReader();
  let at = 0;
  for (let part; !(part = await reader.read()).done; at += part.value.length) {
    if (at + part.value.length > bytes) break;
    data.set(part.value, at);
    loaded(part.value.length);
  }
  if (at !== bytes) throw new Error(`${name} is cut or was changed. Load the page again.`);
  return data;
}

async function hasWebGPU() {
  if (facts.precision === "int8") return false; // integers are for processors
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter) && !adapter.info?.isFallbackAdapter; // that is software, and slow
}

async function load() {
  const answer = await fetch("model.json");
  if (!answer.ok) throw new Error("model.json could not be loaded. Put it beside this page.");
  facts = await answer.json();
  introduce();
  const model = await download("model.onnx", facts.model, progress(facts.model.bytes, "the model"));
  const kinds = (await hasWebGPU()) ? ["webgpu", "wasm"] : ["wasm"];
  for (const kind of kinds) {
    try {
      return await start(kind, model);
    } catch (error) {
      if (kind === kinds.at(-1)) throw error;
      console.info(`No WebGPU after all: ${error.message}`);
    }
  }
}

function progress(total, what) {
  const begun = performance.now();
  let done = 0;
  return (bytes) => {
    done += bytes;
    const left = ((performance.now() - begun) / done) * (total - done) / 1000;
    byId("progress").value = done / total;
    byId("status").textContent = `Loading ${what}: ${(done / 1e6).toFixed(0)} of ` +
      `${(total / 1e6).toFixed(0)} MB${left >= 1 ? `, about ${Math.ceil(left)} s left` : ""}`;
  };
}

async function start(kind, model) {
  const files = facts.runtime[kind];
  const total = Object.values(files).reduce((sum, file) => sum + file.bytes, 0);
  const loaded = progress(total, "ONNX Runtime"), blobs = {};
  for (const [role, file] of Object.entries(files)) {
    const type = role === "wasm" ? "application/wasm" : "text/javascript";
    blobs[role] = URL.createObjectURL(new Blob([await download(file.name, file, loaded)], { type }));
  }
  byId("status").textContent = "Starting …";
  ort = await import(blobs.main);
  ort.env.wasm.wasmPaths = { mjs: blobs.mjs, wasm: blobs.wasm };
  // threads need headers of the host; a worker keeps the page responsive
  ort.env.wasm.numThreads = crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
  ort.env.logLevel = "error";
  ort.env.wasm.proxy = kind === "wasm";
  // the worker takes what it is sent; a second try needs the model again
  session = await ort.InferenceSession.create(model.slice(), { executionProviders: [kind] });
  await judge({ data: new Uint8Array(3 * 64 * 64).fill(128), width: 64, height: 64 });
  document.documentElement.dataset.runtime = kind;
}

function introduce() {
  const names = facts.classes, right = facts.test_images && percent(facts.accuracy);
  document.title = facts.name;
  byId("name").textContent = facts.name;
  const list = names.slice(0, 12).join(", ") + (names.length > 12 ? " …" : "");
  byId("about").textContent = `Sorts photos into ${names.length} classes: ${list}.`;
  byId("facts").textContent = [
    right && `The run it was made from answered ${right} of ${facts.test_images} test photos correctly.`,
    `VGG16, ${facts.transform.image_size} px, ${facts.precision}.`,
  ].filter(Boolean).join(" ");
}

// --- a picture → RGB -----------------------------------------------------------------------------

// As in training: upright, colours as stored, transparency on white. Training decodes a large JPEG at
// a half, a quarter or an eighth of its size, never below twice the network's: of the frequencies of
// each 8 x 8 block, only the lowest count. The same is done here (nearly so if the photo is stored on
// its side and has a side that is no multiple of 8), and with other pictures that would take too much
// memory.
function rgb(source, width, height, isJpeg) {
  const scale = Math.floor(Math.min(width, height) / (2 * facts.transform.image_size));
  const isLarge = (k) => width * height > MOST_PIXELS * (k / 2) ** 2;
  const k = [8, 4, 2].find((k) => scale >= k && (isJpeg || isLarge(k))) ?? 1;
  const n = BLOCK / k, weights = lowFrequencies(n);
  const w = Math.ceil(width / k), h = Math.ceil(height / k), data = new Uint8Array(w * h * 3);
  const canvas = new OffscreenCanvas(width, BLOCK);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < height; top += BLOCK) { // in strips, for a phone has little memory
    const lines = Math.min(BLOCK, height - top), sums = new Float32Array(n * w * 3);
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, BLOCK);
    context.drawImage(source, 0, top, width, lines, 0, 0, width, lines);
    const pixels = context.getImageData(0, 0, width, lines).data;
    for (let line = 0; line < BLOCK; line++) { // the last pixels repeat beyond the edges
      const from = Math.min(line, lines - 1) * width;
      for (let x = 0; x < w; x++) {
        const block = BLOCK * Math.floor(x / n), row = weights[x % n];
        for (let c = 0; c < 3; c++) {
          let sum = 0;
          for (let i = 0; i < BLOCK; i++)
            sum += row[i] * pixels[4 * (from + Math.min(block + i, width - 1)) + c];
          for (let y = 0; y < n; y++) sums[(y * w + x) * 3 + c] += weights[y][line] * sum;
        }
      }
    }
    const start = (top / k) * w * 3;
    for (let i = 0; i < sums.length && start + i < data.length; i++)
      data[start + i] = Math.max(0, Math.min(255, Math.round(sums[i])));
  }
  return { data, width: w, height: h };
}

// What n samples of the n lowest of a block's frequencies (DCT-II) take from each of its pixels.
function lowFrequencies(n) {
  const wave = (place, count, u) => Math.cos(((2 * place + 1) * u * Math.PI) / (2 * count));
  return Array.from({ length: n }, (_, y) => Float64Array.from({ length: BLOCK }, (_, x) => {
    let sum = 0.5;
    for (let u = 1; u < n; u++) sum += wave(x, BLOCK, u) * wave(y, n, u);
    return (2 * sum) / BLOCK;
  }));
}

async function judge({ data, width, height }) {
  const image = new ort.Tensor("uint8", data, [1, height, width, 3]);
  const found = await session.run({ image });
  return { scores: [...found.scores.data], familiarity: found.familiarity?.data[0] };
}

async function classify(file) {
  const how = { imageOrientation: "from-image", colorSpaceConversion: "none" };
  const bitmap = await createImageBitmap(file, how);
  try {
    return await judge(rgb(bitmap, bitmap.width, bitmap.height, file.type === "image/jpeg"));
  } finally {
    bitmap.close();
  }
}

// --- answers -------------------------------------------------------------------------------------

function make(tag, text = "", type = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (type) made.className = type;
  return made;
}

function verdict({ scores, familiarity }) {
  const ranked = scores.map((score, i) => [score, facts.classes[i]]).sort((a, b) => b[0] - a[0]);
  const unknown = familiarity !== undefined && familiarity < facts.least_familiarity;
  const body = document.createElement("div");
  if (unknown) {
    body.append(make("h2", "Unlike anything it was taught.", "unknown"), make("p", `Closest: ${ranked[0][1]}`));
    return body;
  }
  const list = document.createElement("ul");
  for (const [score, label] of ranked.slice(0, SHOWN)) {
    const row = document.createElement("li"), bar = document.createElement("div");
    bar.append(document.createElement("i"));
    bar.firstChild.style.width = `${100 * score}%`;
    row.append(make("span", label), bar, make("span", percent(score)));
    list.append(row);
  }
  body.append(make("h2", ranked[0][1]), list);
  if (facts.least_score === null) return body;
  const likely = ranked.filter(([score]) => score >= facts.least_score).map(([, label]) => label);
  const among = likely.slice(0, SHOWN).join(" or ") || "no class scores as high as the right one usually does";
  if (likely.length !== 1) body.append(make("p", `Not certain: ${among}.`, "note"));
  return body;
}

function show(file) {
  const card = make("article", "", "answer"), text = make("div", "Looking …");
  const picture = document.createElement("img");
  picture.alt = "";
  picture.src = URL.createObjectURL(file);
  picture.onload = picture.onerror = () => URL.revokeObjectURL(picture.src);
  card.append(picture, text);
  byId("answers").prepend(card);
  queue = queue.then(async () => {
    try {
      const found = await classify(file);
      text.replaceChildren(make("p", file.name, "name"), ...verdict(found).childNodes);
      Object.assign(card.dataset, { scores: JSON.stringify(found.scores), familiarity: found.familiarity });
    } catch {
      picture.remove();
      const why = "This is not a photo that the browser can read. Save it as JPEG or PNG.";
      text.replaceChildren(make("p", file.name, "name"), make("p", why, "failed"));
    }
    card.dataset.done = "";
  });
}

// --- camera --------------------------------------------------------------------------------------

let stream = null;

async function toggleCamera() {
  const button = byId("camera");
  if (stream) {
    stream.getTracks().forEach((track) => track.stop());
    stream = null;
  } else {
    const wanted = { video: { facingMode: "environment", width: { ideal: 640 } } };
    stream = await navigator.mediaDevices?.getUserMedia(wanted).catch(() => null);
    byId("seen").replaceChildren(make("p", stream ? "Looking …" : "Allow the camera to use it here.", "note"));
  }
  byId("live").hidden = !stream && button.getAttribute("aria-pressed") === "true";
  button.setAttribute("aria-pressed", String(Boolean(stream)));
  button.textContent = stream ? "Stop the camera" : "Use the camera";
  if (!stream) return;
  const video = byId("video");
  video.srcObject = stream;
  await video.play();
  while (stream) {
    await queue; // photos come first
    const begun = performance.now();
    const found = await judge(rgb(video, video.videoWidth, video.videoHeight));
    const took = performance.now() - begun;
    byId("seen").replaceChildren(verdict(found), make("p", `${Math.round(took)} ms`, "note"));
    await new Promise((done) => setTimeout(done, Math.max(20, 200 - took)));
  }
}

// --- start ---------------------------------------------------------------------------------------

function accept() {
  byId("loading").hidden = true;
  byId("input").hidden = false;
  byId("files").addEventListener("change", ({ target }) => {
    [...target.files].forEach(show);
    target.value = "";
  });
  byId("camera").addEventListener("click", toggleCamera);
  addEventListener("paste", ({ clipboardData }) => [...clipboardData.files].forEach(show));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  addEventListener("dragleave", () => document.body.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    [...event.dataTransfer.files].forEach(show);
  });
}

load().then(accept, (error) => {
  byId("status").textContent = error.message;
  byId("status").className = "failed";
  byId("progress").hidden = true;
});
