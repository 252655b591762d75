// The cards of the classes. Their HTML comes from the server after each change, so events are
// handled on the whole, and the camera's picture goes back to its card.
const PHOTOS_AT_ONCE = 8, MILLISECONDS_A_PHOTO = 200, WIDTH = 640;
const send = (action, data = {}) => trigger("input", {action, ...data});
const cardOf = node => node.closest(".class-card");
const photosOf = card => [...card.querySelectorAll("[data-do=remove_photo]")];
const cardNamed = name => [...element.querySelectorAll(".class-card")]
    .find(card => card.dataset.name === name);
const count = (name, text) => {
    const card = cardNamed(name);
    if (card) card.querySelector(".count").textContent = text;
};

const add = async (name, photos) => {
    for (let start = 0; start < photos.length; start += PHOTOS_AT_ONCE) {
        count(name, `Adding ${start} of ${photos.length} …`);
        const some = photos.slice(start, start + PHOTOS_AT_ONCE);
        const sent = await Promise.allSettled(some.map(photo => upload(photo)));
        // an upload that failed, such as one that is too large, is counted by the server as missing
        send("add", {name, files: sent.map(one => one.value?.path ?? "")});
    }
};

let pressed = null;

// Gradio changes the nodes that are there or makes new ones: what somebody is typing stays on the
// card of that name, and on no other.
const drafts = new Map();  // name of a class → what is typed in its place
const rename = () => {
    [...drafts.keys()].forEach(name => { if (!cardNamed(name)) drafts.delete(name); });
    element.querySelectorAll(".class-name").forEach(field => {
        const name = drafts.get(cardOf(field).dataset.name) ?? field.defaultValue;
        if (field.value !== name) field.value = name;
    });
};
element.addEventListener("input", ({target}) => {
    if (!target.matches(".class-name")) return;
    drafts.set(cardOf(target).dataset.name, target.value);
    pressed = {action: "typing", name: cardOf(target).dataset.name};
});

// Where the focus goes once what was pressed last has changed the cards; an earlier change may come
// before that.
document.addEventListener("focusin", () => { pressed = null; });
const names = () => [...element.querySelectorAll(".class-name")];
const refocus = () => {
    if (!pressed) return;
    const {action, name, photo, at, classes} = pressed, card = cardNamed(name);
    const lost = document.activeElement === document.body;
    const first = element.querySelector(".new") ?? element.querySelector(".drop input");
    if (action === "new_class") {
        if (names().length <= classes) return;
        names().at(-1).focus();
        names().at(-1).select();
    } else if (action === "remove_class") {
        if (!card) element.querySelector("[data-do=undo]")?.focus();
    } else if (action === "remove_photo" && card) {
        const left = photosOf(card);
        if (left.some(button => button.dataset.photo === photo)) return;
        (left[at] ?? left.at(-1) ?? card.querySelector(".drop input")).focus();
    } else if (lost) {
        (action === "typing" && card?.querySelector(".class-name") || first).focus();
    }
};

// On a narrow screen the answers are far below the cards: the verdict stands here, too.
const RUN = "#step-try input[aria-label=Run]", LIVE = "Your classes, as you teach them";
let verdict = "";
const tell = () => {
    const at = element.querySelector(".now"), run = document.querySelector(RUN)?.value;
    if (at) at.textContent = run === LIVE && verdict ? `Trying now: ${verdict}` : "";
};
document.addEventListener("answered", event => { verdict = event.detail; tell(); });

// One camera, on the card where it was opened; a photo, or many while the button is held.
let opened = null, recording = null, taken = [];
const video = Object.assign(document.createElement("video"), {muted: true, playsInline: true});
const hold = Object.assign(document.createElement("button"), {type: "button", className: "hold"});
const close = Object.assign(
    document.createElement("button"), {type: "button", textContent: "Close the camera"});
const place = () => {
    const slot = cardNamed(opened)?.querySelector(".camera");
    if (!slot) return stopCamera();
    slot.hidden = false;
    if (!slot.contains(video)) slot.append(video, hold, close);
    video.play().catch(() => {});
};
const stopCamera = () => {
    closeCamera(video);
    opened = null;
    element.querySelectorAll(".camera").forEach(slot => { slot.hidden = true; });
};
const startCamera = async name => {
    try {
        if (!video.srcObject) await openCamera(video, {width: WIDTH}, stopCamera);
    } catch (refused) {
        return count(name, refused);
    }
    element.querySelectorAll(".camera").forEach(slot => { slot.hidden = true; });
    opened = name;
    hold.textContent = "Hold to record";
    place();
    hold.focus();
};
const photo = () => new Promise(resolve => {
    const {videoWidth: width, videoHeight: height} = video, name = `camera-${Date.now()}.jpg`;
    const canvas = drawn(document.createElement("canvas"), video, width, height, WIDTH);
    canvas.toBlob(blob => resolve(new File([blob], name, {type: blob.type})), "image/jpeg", .92);
});
const flush = least => {
    if (taken.length < least) return;
    add(opened, taken);
    taken = [];
};
const take = async () => {
    if (!video.videoWidth) return;  // not yet a picture
    taken.push(await photo());
    hold.textContent = `Recording: ${taken.length}`;
    flush(PHOTOS_AT_ONCE);
};
const start = () => {
    if (recording) return;
    take();
    recording = setInterval(take, MILLISECONDS_A_PHOTO);
};
const stop = () => {
    clearInterval(recording);
    recording = null;
    setTimeout(() => { flush(1); hold.textContent = "Hold to record"; }, MILLISECONDS_A_PHOTO);
};
hold.addEventListener("pointerdown", event => { hold.setPointerCapture(event.pointerId); start(); });
hold.addEventListener("keydown", event => { if ([" ", "Enter"].includes(event.key)) start(); });
for (const end of ["pointerup", "pointercancel", "keyup", "blur"]) {
    hold.addEventListener(end, () => recording && stop());
}
close.addEventListener("click", stopCamera);

element.addEventListener("click", event => {
    const button = event.target.closest("[data-do]");
    if (!button) return;
    const name = cardOf(button)?.dataset.name, {do: action, photo} = button.dataset;
    const at = photosOf(cardOf(button) ?? element).indexOf(button);
    pressed = {action, name, photo, at, classes: names().length};
    if (action === "camera") startCamera(name);
    else send(action, {name, photo});
});
element.addEventListener("change", ({target}) => {
    if (target.type !== "file") return;
    add(cardOf(target).dataset.name, [...target.files]);
    target.value = "";
});
// A name is sent when its field is left; a `change` is lost where the field's value was set meanwhile.
const sendName = field => {
    const {name} = cardOf(field).dataset;
    if (field.value !== name) send("rename", {name, new: field.value});
};
element.addEventListener("focusout", ({target, relatedTarget}) => {
    if (!target.matches(".class-name")) return;
    if (relatedTarget) return sendName(target);
    setTimeout(() => {  // left for no other control, or taken away by new cards
        if (target.isConnected && document.activeElement !== target) sendName(target);
    });
});
element.addEventListener("keydown", ({key, target}) => {
    if (key === "Enter" && target.matches(".class-name")) sendName(target);
});
for (const kind of ["dragover", "dragleave", "drop"]) {
    element.addEventListener(kind, event => {
        const card = cardOf(event.target);
        if (!card) return;
        event.preventDefault();
        card.classList.toggle("over", kind === "dragover");
        if (kind === "drop") add(card.dataset.name, [...event.dataTransfer.files]);
    });
}
watch("value", () => {
    if (opened) place();
    rename();
    refocus();
    tell();
});
