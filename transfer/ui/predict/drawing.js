// A white square to draw on; the picture is the component's value, sent when the pen is lifted.
const BRUSH = 20;  // of 280 pixels: drawn as large as one does, strokes are as thick as the digits'
const canvas = element.querySelector("canvas"), pen = canvas.getContext("2d");
Object.assign(pen, {lineWidth: BRUSH, lineCap: "round", lineJoin: "round"});
let last = null;  // where the pen is, while it is down
let sent = "";

function clear() {
    pen.fillStyle = "white";
    pen.fillRect(0, 0, canvas.width, canvas.height);
}

function send(picture) {
    props.value = sent = picture;
    trigger("input");
}

function restore() {  // what was drawn before a reload
    if (!props.value || props.value === sent) return;
    const image = new Image();
    image.onload = () => pen.drawImage(image, 0, 0);
    image.src = sent = props.value;
}

function draw(event) {
    const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
    const at = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    pen.beginPath();
    pen.moveTo(...(last || at));
    pen.lineTo(...at);  // a dot where the pen does not move
    pen.stroke();
    last = at;
}

canvas.addEventListener("pointerdown", event => {
    if (!event.isPrimary || event.button) return;
    canvas.setPointerCapture(event.pointerId);
    last = null;
    draw(event);
});
canvas.addEventListener("pointermove", event => {
    if (!last || !event.isPrimary) return;
    const passed = event.getCoalescedEvents?.() || [];
    (passed.length ? passed : [event]).forEach(draw);
});
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, event => {
    if (!last || !event.isPrimary) return;
    last = null;
    send(canvas.toDataURL("image/png"));
});
element.querySelector("button").addEventListener("click", () => {
    clear();
    send("");
});
clear();
restore();
watch("value", restore);
